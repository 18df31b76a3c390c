"""What the image is made of and is told to do exists; the image itself needs Docker to be built."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from ssd.commands.main import COMMANDS
from ssd.run.environment import git_commit

TOOLS = ["benchmark", "check_data", "evaluate", "export", "predict", "spikes", "train"]
PASSED_ON = ["tensorboard", "torchrun"]
BECOMES = {  # the first word of a container, and what it starts
    "train": ["ssd", "train"],
    "recipes": ["ssd", "recipes"],
    "check_data": ["ssd", "check"],
    "tarin": ["ssd", "tarin"],  # which names the commands there are
    "tensorboard": ["tensorboard"],
    "torchrun": ["torchrun"],
}


@pytest.fixture(scope="module")
def dockerfile(repository):
    """The instructions, one a line."""
    text = re.sub(r"^#.*\n", "", (repository / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split(maxsplit=1) for line in text.replace("\\\n", "").splitlines() if line]


@pytest.fixture(scope="module")
def services(repository):
    return yaml.safe_load((repository / "compose.yaml").read_text())["services"]


@pytest.fixture
def entrypoint(repository, tmp_path):
    """Runs the entrypoint where each command that it hands over to tells what it was given."""
    for name in ["python", "ssd", *PASSED_ON]:
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\nprintf "%s\\n" $$ {name} "$@"\nexit 7\n')
        stub.chmod(0o755)

    def run(*arguments):
        process = subprocess.Popen(
            [repository / "tools" / "entrypoint.sh", *arguments],
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        told, error = process.communicate(timeout=10)
        return process, told.splitlines(), error

    return run


def test_every_tool_has_a_command(repository):
    tools = {path.stem for path in (repository / "tools").glob("*.py")}
    assert tools == set(TOOLS)
    assert tools - {"benchmark", "check_data"} < set(COMMANDS)


@pytest.mark.parametrize("name", BECOMES)
def test_a_first_word_becomes_a_command_in_the_same_process(entrypoint, name):
    """The same process, so that signals reach it."""
    process, told, _ = entrypoint(name, "a b", "--help")
    assert told == [str(process.pid), *BECOMES[name], "a b", "--help"]
    assert process.returncode == 7


def test_the_benchmark_is_a_file(entrypoint, repository):
    process, told, _ = entrypoint("benchmark", "loss")
    tool = str(repository / "tools" / "benchmark.py")
    assert told == [str(process.pid), "python", tool, "loss"]


def test_what_is_copied_exists_and_is_not_ignored(repository, dockerfile):
    copied = [words.split()[:-1] for name, words in dockerfile if name == "COPY"]
    sources = sorted(source for several in copied for source in several)
    lines = (repository / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {f"!{source}" for source in sources} == {line for line in lines if line[:1] == "!"}
    for source in sources:
        assert (repository / source).exists(), source


def test_the_entrypoint_is_a_file_that_runs(repository, dockerfile):
    (entrypoint,) = (yaml.safe_load(words) for name, words in dockerfile if name == "ENTRYPOINT")
    path = repository / entrypoint[0].removeprefix("/app/")
    assert os.access(path, os.X_OK)
    assert path.parent.name == "tools"


def test_the_dependencies_are_read_from_pyproject(repository, dockerfile):
    (command,) = (words for name, words in dockerfile if name == "RUN" and "tomllib" in words)
    python = re.search(r"python -c '(.*?)'", command)[1]
    listed = subprocess.run(
        [sys.executable, "-c", python], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"torch>=2.11", "defusedxml>=0.7", "hotcoco>=1.3"} < set(listed)
    assert not any("pytest" in line for line in listed)


def test_the_commit_of_the_image_is_the_run_s(dockerfile, monkeypatch):
    assert any("SSD_COMMIT" in words for name, words in dockerfile if name == "ENV")
    monkeypatch.setenv("SSD_COMMIT", "0123456789ab-dirty")
    assert git_commit() == "0123456789ab-dirty"


def test_an_image_that_was_told_no_commit_has_none(monkeypatch):
    monkeypatch.setenv("SSD_COMMIT", "")
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


def test_services_mount_what_the_image_has_ready(dockerfile, services):
    (made,) = (words for name, words in dockerfile if name == "RUN" and "--directory" in words)
    for name, service in services.items():
        mounts = {m["target"]: m for m in service["volumes"] if isinstance(m, dict)}
        assert mounts["/app/runs"].get("read_only", False) == (name == "tensorboard"), name
        assert not any(m["bind"]["create_host_path"] for m in mounts.values()), name
        for mount in service["volumes"]:
            target = mount["target"] if isinstance(mount, dict) else mount.split(":")[1]
            folder = target.removeprefix("/app/")
            assert folder == "/data" or folder in made.split(), (name, target)
    assert services["gpu"]["volumes"][0]["read_only"]
    (device,) = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "deploy" not in services["cpu"]


def docker_commands(repository):
    """The words of each command of docs/docker.md and README.md that starts with `docker`."""
    for page in ("docs/docker.md", "README.md"):
        for block in re.findall(r"```sh\n(.*?)```", (repository / page).read_text(), re.DOTALL):
            for line in block.replace("\\\n", "").splitlines():
                if line.startswith("docker "):
                    yield shlex.split(line.replace("$(", "").replace(")", ""))


def test_documented_commands_name_what_exists(repository, dockerfile, services):
    arguments = {words.split("=")[0] for name, words in dockerfile if name == "ARG"}
    for words in docker_commands(repository):
        match words[1:]:
            case ["build", *flags]:
                built = {
                    flags[i + 1].split("=")[0] for i, f in enumerate(flags) if f == "--build-arg"
                }
                assert built <= arguments
                continue
            case ["compose", "build"]:
                continue
            case ["compose", "up", service]:
                command = shlex.split(services[service]["command"])
            case ["compose", "run", "--rm", service, *command]:
                assert service in services
            case ["run", *rest]:
                command = rest[rest.index("ssd-trainer") + 1 :]
            case _:
                pytest.fail(f"not known: {words}")
        assert command[0] in [*TOOLS, *PASSED_ON, *COMMANDS], words
        files = [word for word in command if re.match(r"(configs|tools)/", word)]
        assert all((repository / file).is_file() for file in files), words


def test_the_image_has_the_compiler_that_triton_looks_for(dockerfile):
    (install,) = [line for word, line in dockerfile if word == "RUN" and "apt-get" in line]
    assert {"gcc", "libc6-dev"} <= set(install.split())
