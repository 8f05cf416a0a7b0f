"""How a model of the hub may be called, typed or pasted."""

from __future__ import annotations

import pytest

from vitq_core.models.hub_name import HubName, hub_name

COMMIT = "a1" * 20


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("hf-hub:user/name", "user/name", "main"),
        (" hf-hub:user/name@v1.0 ", "user/name", "v1.0"),
        (f"timm/name.with-dots_1@{COMMIT}", "timm/name.with-dots_1", COMMIT),
        ("https://huggingface.co/user/name", "user/name", "main"),
        ("http://huggingface.co/user/name/?library=timm#files", "user/name", "main"),
        ("huggingface.co/user/name@v2", "user/name", "v2"),
        ("https://hf.co/user/name/tree/dev", "user/name", "dev"),
        ("https://huggingface.co/user/name/tree/refs%2Fpr%2F1", "user/name", "refs/pr/1"),
        (f"https://huggingface.co/user/name/blob/{COMMIT}/model.safetensors", "user/name", COMMIT),
        ("https://huggingface.co/user/name/discussions/3", "user/name", "main"),
    ],
)
def test_what_is_meant(text: str, repo: str, revision: str) -> None:
    assert hub_name(text) == HubName(repo, revision)
    assert hub_name(hub_name(text).id) == HubName(repo, revision)


@pytest.mark.parametrize(
    "text",
    [
        "demo-vit",
        "user/name",
        "",
        "hf-hub:nobody",
        "a/b/c",
        "/tmp/a",
        "https://example.com/user/name",
        "\n\t\x1b[0m",
        "https://[",
        "http://[v9.x]/user/name",
        "a]b",
    ],
)
def test_what_is_no_name_of_the_hub(text: str) -> None:
    assert hub_name(text) is None


def test_a_bare_name_is_meant_where_nothing_else_can_be() -> None:
    assert hub_name("user/name@v1", bare=True) == HubName("user/name", "v1")
    assert hub_name("demo-vit", bare=True) is hub_name("a/b/c", bare=True) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hf-hub:us er/na..me", "is not the name of a repository; it should look like user/name"),
        (
            "hf-hub:user/name@../../secret",
            "no revision of user/name; it should be a branch, a tag or a commit",
        ),
        ("hf-hub:user/name@/etc", "no revision of user/name"),
        (
            "https://huggingface.co/datasets/user/name",
            r"no model's page; its address is https://huggingface\.co/",
        ),
        ("https://huggingface.co/timm", "no model's page"),
        ("https://huggingface.co/user/name/tree/a%2F..%2Fb", "no revision of user/name"),
    ],
)
def test_what_no_model_can_be_called(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hub_name(text)


def test_people_read_a_commits_first_digits() -> None:
    name = HubName("user/name", COMMIT)
    assert (name.short, name.is_commit) == ("user/name@a1a1a1a", True)
    assert (name.at("main").short, name.at("v1").short) == ("user/name", "user/name@v1")
