import pytest

from ssd.common.errors import UserError
from ssd.config.recipes import RECIPES, find_recipe, recipes


def test_there_is_one_copy_of_the_recipes(repository):
    assert RECIPES.resolve() == repository / "configs"
    names = {path.stem for path in (repository / "configs").glob("*.yaml")}
    assert set(recipes()) == names


@pytest.mark.parametrize("given", ["custom_voc", "custom_voc.yaml", "configs/custom_voc.yaml"])
def test_a_recipe_is_found_by_its_name_in_any_folder(given):
    assert find_recipe(given) == RECIPES / "custom_voc.yaml"


def test_a_file_comes_before_a_recipe(tmp_path):
    (tmp_path / "custom_voc.yaml").write_text("")
    assert find_recipe("custom_voc.yaml").resolve() == tmp_path / "custom_voc.yaml"
    assert find_recipe("custom_voc") == RECIPES / "custom_voc.yaml"


def test_a_folder_does_not_hide_a_recipe_and_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custom_voc").mkdir()
    (tmp_path / "data").mkdir()
    assert find_recipe("custom_voc") == RECIPES / "custom_voc.yaml"
    with pytest.raises(UserError, match="data is a folder.* --data.root"):
        find_recipe("data")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("custm_voc", "did you mean custom_voc"),
        ("gone/custom_voc.yaml", "no file, folder or recipe"),
        ("xyz", "are"),
    ],
)
def test_what_is_neither_is_told(given, told):
    with pytest.raises(UserError, match=told):
        find_recipe(given)
