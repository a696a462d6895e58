"""The seed's rows under transformers 4.41.2: `make compat` holds the golden file, this its cells."""

from tests.compat.seed import corrected, golden_rows, seed_rows

ROWS = seed_rows()


def expected(model, column):
    return corrected().get((model.rpartition("/")[2], column), ROWS[model][column])


def test_the_six_rows_are_the_seeds_but_for_the_corrected_cells():
    assert len(ROWS) == 6
    told = golden_rows()
    for model, row in ROWS.items():
        assert told[model] == {column: expected(model, column) for column in row}


def test_under_the_version_of_the_seed_nothing_but_its_errors_differs():
    told = golden_rows()
    differing = {
        (model.rpartition("/")[2], column)
        for model, row in ROWS.items()
        for column, cell in row.items()
        if told[model][column] != cell
    }
    shown = {model.rpartition("/")[2] for model in ROWS}
    assert differing == {key for key in corrected() if key[0] in shown}
