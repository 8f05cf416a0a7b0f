"""Files that run a command on many machines: a job of Slurm and one of Kubernetes, around ``torchrun``.

Both run the same command in every process; the data and the folder for results must be seen by all machines.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.checks import check_count, check_name

PORT = 29500  # where torchrun's processes meet
NAME = re.compile(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?")
CLAIM = "pvc:"  # a volume of Kubernetes instead of a folder
DATA, RESULTS = "/data", "/results"  # where a container sees the two folders

SLURM = """\
#!/bin/bash
# {about}
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={cpus}
{gpus}#SBATCH --time={hours}:00:00
#SBATCH --output={name}-%j.log
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail
export OMP_NUM_THREADS={threads}
export VITQ_HOME={home}
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

[ -e {data} ] || {{ echo "the data are not there: "{data} >&2; exit 1; }}
mkdir -p {results}
srun {container}torchrun \\
  --nnodes={nodes} --nproc-per-node={processes} \\
  --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head_node:{port}" \\
  {module}
"""

KUBERNETES = """\
# {about}
apiVersion: v1
kind: Service
metadata:
  name: "{name}"
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    job-name: "{name}"
  ports:
    - port: {port}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: "{name}"
spec:
  completionMode: Indexed
  completions: {nodes}
  parallelism: {nodes}
  backoffLimit: {retries}
  template:
    spec:
      subdomain: "{name}"
      restartPolicy: OnFailure
      containers:
        - name: worker
          image: {image}
          command: ["/bin/bash", "-c"]
          args: [{line}]
          env:
            - name: OMP_NUM_THREADS
              value: "{threads}"
            - name: VITQ_HOME
              value: {home}
          resources:
            limits: {limits}
          volumeMounts:
            - name: data
              mountPath: {data_mount}
              readOnly: true
            - name: results
              mountPath: {results_mount}
      volumes:
        - name: data
          {data}
        - name: results
          {results}
"""


@dataclass(frozen=True)
class Job:
    """``command``: the words of what is run, such as ``["vitq_core", "evaluate", "deit-small"]``, a module
    first. ``nodes`` machines with ``processes`` each, of ``threads`` each, or of one graphics processor each
    where ``gpus``. ``image``: a container's; may be empty with Slurm. ``data``, ``results``: folders, or with
    Kubernetes ``pvc:<name>`` for a claim; ``hours``: the most it may take."""

    command: Sequence[str]
    nodes: int = 1
    processes: int = 1
    image: str = ""
    data: str = DATA
    results: str = RESULTS
    name: str = "vitq"
    threads: int = 1
    gpus: bool = False
    hours: int = 24

    def __post_init__(self) -> None:
        for name in ("nodes", "processes", "threads", "hours"):
            check_count(name, getattr(self, name))
        if not self.command or isinstance(self.command, str):
            raise ValueError(f"command must be a list of words, a module first, got {self.command!r:.80}")
        for name, text in (("a folder", self.data), ("a folder", self.results), ("the image", self.image)):
            if any(sign in text for sign in "\n\r\0"):
                raise ValueError(f"{name} must be one line, got {text!r:.80}")
        if any("\0" in word for word in self.command):
            raise ValueError("a word of the command holds a zero byte")
        if not NAME.fullmatch(self.name):
            raise ValueError(
                "a job's name begins with a small letter and has such, digits and dashes, 52 at most, "
                f"got {self.name!r:.80}"
            )

    @property
    def module(self) -> str:
        """What torchrun runs in each process."""
        module, *words = self.command
        return f"-m {shlex.quote(module)} {shlex.join(words)}".rstrip()

    @property
    def about(self) -> str:
        count = self.nodes * self.processes
        return (
            f"{count} processes on {self.nodes} machines; run again, it goes on from what is in the results."
        )


def job_file(kind: str, command: Sequence[str], **options: object) -> str:
    """The text of a job file: ``"slurm"``, a script for ``sbatch``; ``"kubernetes"``, for ``kubectl apply``.

    ``options`` as the fields of :class:`Job`. Raises ValueError for what cannot be.
    """
    check_name("kind of job", kind, KINDS)
    try:
        job = Job(command, **options)
    except TypeError as error:
        raise ValueError(f"a job has no such option: {error}") from error
    return KINDS[kind](job)


def _slurm(job: Job) -> str:
    gpus = f"#SBATCH --gpus-per-node={job.processes}\n" if job.gpus else ""
    mounts = f"{job.data}:{job.data}:ro,{job.results}:{job.results}"
    container = ["--container-image", job.image, "--container-mounts", mounts] if job.image else []
    return SLURM.format(
        about=job.about,
        name=job.name,
        nodes=job.nodes,
        processes=job.processes,
        cpus=job.processes * job.threads,
        gpus=gpus,
        hours=job.hours,
        threads=job.threads,
        home=shlex.quote(f"{job.results}/home"),
        data=shlex.quote(job.data),
        results=shlex.quote(job.results),
        container=f"{shlex.join(container)} " if container else "",
        port=PORT,
        module=job.module,
    )


def _kubernetes(job: Job) -> str:
    if not job.image:
        raise ValueError("a job of Kubernetes runs in a container: give image=")
    line = (
        f"exec torchrun --nnodes={job.nodes} --nproc-per-node={job.processes} "
        f"--rdzv-backend=c10d --rdzv-id={job.name} --rdzv-endpoint={job.name}-0.{job.name}:{PORT} "
        f"{job.module}"
    )
    kind, count = ("nvidia.com/gpu", job.processes) if job.gpus else ("cpu", job.processes * job.threads)
    return KUBERNETES.format(
        about=job.about,
        name=job.name,
        nodes=job.nodes,
        port=PORT,
        retries=3 * job.nodes,
        image=json.dumps(job.image),
        line=json.dumps(line.replace("$(", "$$("), ensure_ascii=False),
        threads=job.threads,
        home=json.dumps(f"{_mount(job.results, RESULTS)}/home"),
        limits=json.dumps({kind: str(count)}),
        data_mount=json.dumps(_mount(job.data, DATA)),
        results_mount=json.dumps(_mount(job.results, RESULTS)),
        data=_volume(job.data),
        results=_volume(job.results),
    )


def _mount(place: str, default: str) -> str:
    """A folder of the machines is seen under its own name, a claim under the usual one."""
    return default if place.startswith(CLAIM) else place


def _volume(place: str) -> str:
    if place.startswith(CLAIM):
        return f"persistentVolumeClaim: {json.dumps({'claimName': place.removeprefix(CLAIM)})}"
    return f"hostPath: {json.dumps({'path': place})}"


KINDS: dict[str, Callable[[Job], str]] = {"slurm": _slurm, "kubernetes": _kubernetes}
EXAMPLES = {  # what docs/jobs shows
    "slurm.sh": (
        "slurm",
        ("vitq_core", "evaluate", "deit-small", "--data", "/shared/imagenet/val"),
        {"nodes": 4, "processes": 16, "data": "/shared/imagenet/val", "results": "/shared/vitq results"},
    ),
    "kubernetes.yaml": (
        "kubernetes",
        ("vitq_core", "evaluate", "deit-small", "--data", DATA),
        {
            "nodes": 4,
            "processes": 16,
            "image": "registry.example/vitq:1",
            "data": "pvc:imagenet",
            "results": "pvc:vitq",
        },
    ),
}


def example_job(name: str) -> str:
    """A file of docs/jobs."""
    kind, command, options = EXAMPLES[name]
    return job_file(kind, command, **options)


def write_examples(folder: Path) -> None:
    """All of them; `python -m vitq_core.experiment.jobs` does it."""
    for name in EXAMPLES:
        (folder / name).write_text(example_job(name), "utf-8")


if __name__ == "__main__":
    write_examples(Path(__file__).parents[2] / "docs" / "jobs")
