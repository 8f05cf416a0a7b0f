"""Job files say what they must, whatever the words in them, and docs/jobs shows what the function gives."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from vitq_core.experiment.jobs import EXAMPLES, KINDS, example_job, job_file

from ..workers import ROOT

COMMAND = ["vitq_core", "evaluate", "my model", "--data", '/data/it\'s $HOME `x` "here" $(date)']
GIVEN = {"nodes": 3, "processes": 4, "threads": 2, "image": "registry/a:1", "name": "night-run"}
PLACES = {"data": "/shared/my data", "results": "/shared/it's results; rm -rf $HOME"}


def kubernetes(**more: object) -> tuple[dict, dict]:
    service, job = yaml.safe_load_all(job_file("kubernetes", COMMAND, **{**GIVEN, **more}))
    return service, job


def container(job: dict) -> dict:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def heard(script: str, folder: Path, **environment: str) -> list[str]:
    """The words that each command in the script is called with, one a line."""
    for name in ("srun", "torchrun", "scontrol", "mkdir"):
        (folder / name).write_text(
            f'#!/bin/bash\nfor word in {name} "$@"; do echo "$word" >> "$HEARD"; done\necho node1\n'
        )
        (folder / name).chmod(0o755)
    log = folder / "heard"
    path = f"{folder}:/usr/bin:/bin"
    ended = subprocess.run(
        ["bash", "-c", script], env={"PATH": path, "HEARD": str(log), **environment}, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    return log.read_text().splitlines()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_docs_show_what_the_function_gives(name: str) -> None:
    shown = (ROOT / "docs" / "jobs" / name).read_text("utf-8")
    assert shown == example_job(name), "python -m vitq_core.experiment.jobs writes them"


@pytest.mark.parametrize("more", [{}, {"gpus": True}, {"image": ""}, PLACES])
def test_bash_accepts_the_script_of_slurm(more: dict) -> None:
    script = job_file("slurm", COMMAND, **{**GIVEN, **more})
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    directives = dict(
        line.removeprefix("#SBATCH --").split("=")
        for line in script.splitlines()
        if "#SBATCH --" in line and "=" in line
    )
    assert directives["nodes"] == "3" and directives["ntasks-per-node"] == "1"
    assert directives["cpus-per-task"] == "8" and directives["job-name"] == "night-run"
    assert directives.get("gpus-per-node") == ("4" if more.get("gpus") else None)


def test_words_reach_the_command_of_slurm_as_they_are(tmp_path) -> None:
    data = tmp_path / "my data; exit 1"
    data.mkdir()
    script = job_file("slurm", COMMAND, **{**GIVEN, **PLACES, "data": str(data), "image": ""})
    words = heard(script, tmp_path, SLURM_JOB_ID="7", SLURM_JOB_NODELIST="node[1-3]")
    assert words[words.index("-m") + 1 :] == COMMAND
    assert {"--nnodes=3", "--nproc-per-node=4", "--rdzv-backend=c10d", "--rdzv-id=7"} <= set(words)
    assert "--rdzv-endpoint=node1:29500" in words
    assert words[words.index("mkdir") :][:3] == ["mkdir", "-p", PLACES["results"]]


def test_data_that_are_not_there_end_the_job(tmp_path) -> None:
    script = job_file("slurm", COMMAND, data=f"{tmp_path}/no where").replace("scontrol", "echo")
    ended = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin", "SLURM_JOB_NODELIST": "x"}, capture_output=True
    )
    assert ended.returncode == 1 and f"the data are not there: {tmp_path}/no where" in ended.stderr.decode()


def test_a_container_of_slurm_sees_both_folders() -> None:
    script = job_file("slurm", COMMAND, **{**GIVEN, **PLACES})
    (line,) = [line for line in script.splitlines() if line.startswith("srun ")]
    words = shlex.split(line.removesuffix("\\"))
    assert words[words.index("--container-image") + 1] == "registry/a:1"
    mounts = words[words.index("--container-mounts") + 1]
    assert mounts == f"{PLACES['data']}:{PLACES['data']}:ro,{PLACES['results']}:{PLACES['results']}"


def test_kubernetes_has_the_fields_that_matter() -> None:
    service, job = kubernetes(**PLACES)
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["selector"] == {"job-name": "night-run"}
    assert service["metadata"]["name"] == job["metadata"]["name"] == "night-run"
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (job["apiVersion"], job["kind"], spec["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert spec["completions"] == spec["parallelism"] == 3 and pod["subdomain"] == "night-run"
    worker = container(job)
    assert worker["image"] == "registry/a:1" and worker["resources"]["limits"] == {"cpu": "8"}
    mounts = {mount["name"]: mount for mount in worker["volumeMounts"]}
    assert mounts["data"] == {"name": "data", "mountPath": PLACES["data"], "readOnly": True}
    assert mounts["results"]["mountPath"] == PLACES["results"]
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    assert volumes == PLACES
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in worker["env"]


def test_claims_and_graphics_processors_of_kubernetes() -> None:
    _, job = kubernetes(data="pvc:pictures", results="pvc:kept", gpus=True)
    volumes = job["spec"]["template"]["spec"]["volumes"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes]
    assert claims == ["pictures", "kept"]
    assert container(job)["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert [mount["mountPath"] for mount in container(job)["volumeMounts"]] == ["/data", "/results"]


def test_words_reach_the_command_of_kubernetes_as_they_are(tmp_path) -> None:
    _, job = kubernetes()
    worker = container(job)
    (line,) = worker["args"]
    line = line.replace("$$(", "$(")  # what Kubernetes does, which would fill in $(NAME)
    assert worker["command"] == ["/bin/bash", "-c"] and "$$" not in line
    words = heard(line, tmp_path)
    assert words[words.index("-m") + 1 :] == COMMAND
    assert "--rdzv-endpoint=night-run-0.night-run:29500" in words


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kind": "lsf"}, "unknown kind of job 'lsf'; available: slurm, kubernetes"),
        ({"command": "vitq_core evaluate"}, "command must be a list of words"),
        ({"command": []}, "command must be a list of words"),
        ({"nodes": 0}, "nodes must be a whole number of at least 1, got 0"),
        ({"name": "My Job"}, "a job's name begins with a small letter"),
        ({"data": "/a\nb"}, "must be one line"),
        ({"image": ""}, "give image="),
        ({"colour": "red"}, "a job has no such option"),
    ],
)
def test_what_cannot_be_is_a_sentence(given: dict, sentence: str) -> None:
    chosen = {"kind": "kubernetes", "command": COMMAND, "image": "a:1", **given}
    with pytest.raises(ValueError, match=sentence):
        job_file(chosen.pop("kind"), chosen.pop("command"), **chosen)


def test_every_kind_has_an_example() -> None:
    assert {kind for kind, _, _ in EXAMPLES.values()} == set(KINDS)
