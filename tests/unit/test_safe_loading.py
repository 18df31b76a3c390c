"""Nothing that was read can run code: no source of the project asks for it."""

import ast

import pytest

FORBIDDEN = {
    *("eval", "exec", "compile", "__import__"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "shelve.open"),
    *("os.system", "os.popen", "torch.jit.load", "torch.hub.load", "joblib.load"),
}
SAFE_LOADERS = {"torch.load", "get_state_dict", "load_state_dict_from_url"}


def dangers(source):
    """What a source calls that can run what it reads, with the lines."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        short = called.rpartition(".")[2]
        if called in FORBIDDEN or given.get("shell") == "True" or "allow_pickle" in given:
            yield f"{node.lineno}: {called}"
        if SAFE_LOADERS & {called, short} and given.get("weights_only") != "True":
            yield f"{node.lineno}: {called} without weights_only=True"


def test_no_source_can_run_what_it_reads(repository):
    sources = [*(repository / "ssd").rglob("*.py"), *(repository / "tools").rglob("*.py")]
    assert len(sources) > 100
    found = [f"{path}:{danger}" for path in sources for danger in dangers(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "weights.get_state_dict(progress=True)",
        "eval(text)",
        "yaml.load(text, Loader=Loader)",
        "pickle.loads(b)",
        "np.load(f, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert list(dangers(source))


def test_the_search_lets_pass_what_is_safe():
    assert not list(dangers("torch.load(f, weights_only=True); model.eval(); np.load(f)"))
