from groxy.core.errors import ErrorKind
from tools.write_errors_table import PAGE, main


def test_the_page_is_in_step_with_the_error_kinds():
    assert main(["--check"]) == 0


def test_the_page_names_every_code():
    page = PAGE.read_text("utf-8")

    assert [kind.value for kind in ErrorKind if f"`{kind.value}`" not in page] == []
