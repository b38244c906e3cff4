"""Rows from scikit-learn's data sets and from files, and what is wrong with files."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abserve.errors import TrainingError
from abserve.schema import Feature
from tests.training.files import CLASSIFIER, REGRESSOR, definition_of, load_csv, load_parquet
from training import Definition
from training.dataset import Dataset
from training.sources import load

FLOWERS = "width,height,kind\n1,2,a\n3,4,b\n5,6,a\n"


def bundled(name: str, *columns: str, **changes: Any) -> Dataset:
    features = [{"name": column} for column in columns]
    data = {"source": "sklearn", "name": name}
    return load(definition_of("rows.csv", **{"data": data, "features": features, **changes}), print)


def message(folder: Path, content: str | bytes, **changes: Any) -> str:
    """What loading a CSV of this content says is wrong with it."""
    with pytest.raises(TrainingError) as raised:
        load_csv(folder, content, **changes)
    return str(raised.value).replace(f"file://{folder}/", "")


def parquet_message(folder: Path, columns: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(TrainingError) as raised:
        load_parquet(folder, columns, **changes)
    return str(raised.value).replace(f"file://{folder}/", "")


class TestBundles:
    def test_iris_is_fishers_data(self, definition: Definition) -> None:
        dataset = load(definition, print)
        assert dataset.rows.shape == (150, 4)
        assert dataset.class_names == ("setosa", "versicolor", "virginica")
        assert dataset.rows[0].tolist() == np.float32([5.1, 3.5, 1.4, 0.2]).tolist()
        assert dataset.targets[0] == 0
        assert dataset.fingerprint.source == "sklearn:iris"

    @pytest.mark.parametrize(
        ("name", "n_rows", "column"),
        [
            ("wine", 178, "od280_od315_of_diluted_wines"),
            ("breast_cancer", 569, "mean_radius"),
            ("digits", 1797, "pixel_7_0"),
        ],
    )
    def test_columns_are_named_as_features_are(self, name: str, n_rows: int, column: str) -> None:
        assert bundled(name, column).rows.shape == (n_rows, 1)

    def test_diabetes_is_in_its_own_units(self) -> None:
        dataset = bundled(
            "diabetes",
            "age",
            "bp",
            estimator=REGRESSOR,
        )
        assert dataset.rows[0].tolist() == [59.0, 101.0]
        assert dataset.class_names is None
        assert dataset.targets.dtype == np.float64
        assert dataset.targets[0] == 151.0

    def test_the_features_choose_columns_and_their_order(self) -> None:
        dataset = bundled("iris", "petal_width_cm", "sepal_length_cm")
        assert dataset.columns == ("petal_width_cm", "sepal_length_cm")
        assert dataset.rows[0].tolist() == np.float32([0.2, 5.1]).tolist()

    def test_a_column_that_it_does_not_have_is_refused(self) -> None:
        with pytest.raises(
            TrainingError, match=r"sklearn:iris has no column 'petal_width'; it has petal_width_cm,"
        ):
            bundled("iris", "petal_width")

    def test_classes_can_be_put_in_another_order(self) -> None:
        target = {"name": "kind", "classes": ["virginica", "setosa", "versicolor"]}
        dataset = bundled("iris", "petal_width_cm", target=target)
        assert dataset.class_names == ("virginica", "setosa", "versicolor")
        assert dataset.targets[[0, 50, 149]].tolist() == [1, 2, 0]

    def test_other_classes_than_it_has_are_refused(self) -> None:
        with pytest.raises(TrainingError, match=r"those of sklearn:iris are setosa, versicolor"):
            bundled("iris", "petal_width_cm", target={"name": "kind", "classes": ["rose", "tulip"]})


class TestCsv:
    def test_columns_are_found_by_name_among_others_and_in_any_order(self, tmp_path: Path) -> None:
        dataset = load_csv(tmp_path, "kind,note,height,width\nb,x y,2,1\na,\xe4,4.5,-3e2\n")
        assert dataset.columns == ("width", "height")
        assert dataset.rows.tolist() == [[1, 2], [-300, 4.5]]
        assert dataset.class_names == ("a", "b")
        assert dataset.targets.tolist() == [1, 0]

    def test_a_target_of_a_regressor_is_a_number(self, tmp_path: Path) -> None:
        dataset = load_csv(tmp_path, "width,height,kind\n1,2,-1\n3,4,0.5\n", estimator=REGRESSOR)
        assert dataset.class_names is None
        assert dataset.targets.tolist() == [-1, 0.5]

    def test_numbers_as_class_names_are_in_the_order_of_numbers(self, tmp_path: Path) -> None:
        dataset = load_csv(tmp_path, "width,height,kind\n1,2,10\n3,4,9\n5,6,x\n")
        assert dataset.class_names == ("9", "10", "x")

    def test_declared_classes_are_in_their_own_order(self, tmp_path: Path) -> None:
        dataset = load_csv(tmp_path, FLOWERS, target={"name": "kind", "classes": ["b", "a"]})
        assert dataset.class_names == ("b", "a")
        assert dataset.targets.tolist() == [1, 0, 1]

    @pytest.mark.parametrize("absent", ["", "nan", "NaN"])
    def test_a_missing_value_is_no_number(self, tmp_path: Path, absent: str) -> None:
        dataset = load_csv(tmp_path, f"width,height,kind\n1,{absent},a\n3,4,b\n")
        assert np.isnan(dataset.rows[0, 1])

    @pytest.mark.parametrize(
        "content",
        [
            FLOWERS.replace("\n", "\r\n"),
            "\ufeff" + FLOWERS,
            FLOWERS.rstrip("\n"),
            FLOWERS.replace("\n", "\n\n"),
            "width,height,kind\n1, 2,a\n 3,4 ,b\n5,6,a\n",
            'width,height,kind\n"1","2","a"\n3,4,"b"\n5,6,a',
        ],
        ids=["crlf", "bom", "no-last-newline", "empty-lines", "spaces", "quotes"],
    )
    def test_the_same_rows_can_be_written_in_many_ways(self, tmp_path: Path, content: str) -> None:
        plain = load_csv(tmp_path, FLOWERS)
        written = load_csv(tmp_path, content)
        assert written.fingerprint == plain.fingerprint

    def test_another_separator_can_be_named(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_text(FLOWERS.replace(",", ";"))
        data = {"source": "csv", "url": f"file://{path}", "separator": ";"}
        assert load(definition_of(path, data=data), print).rows.shape == (3, 2)

    def test_a_compressed_file_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv.gz"
        path.write_bytes(gzip.compress(FLOWERS.encode()))
        assert load(definition_of(path), print).rows.shape == (3, 2)

    def test_a_path_may_be_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "rows.csv").write_text(FLOWERS)
        monkeypatch.chdir(tmp_path)
        dataset = load(definition_of("rows.csv"), print)
        assert dataset.fingerprint.source == "rows.csv"

    def test_a_category_is_its_position(self, tmp_path: Path) -> None:
        colour = Feature(name="width", type="category", categories=("red", "blue")).model_dump()
        dataset = load_csv(
            tmp_path,
            "width,height,kind\nblue,2,a\nred,4,b\n,6,a\n",
            features=[colour, {"name": "height"}],
        )
        assert dataset.rows[:2, 0].tolist() == [1, 0]
        assert np.isnan(dataset.rows[2, 0])

    def test_reading_many_rows_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("width,height,kind\n" + "1,2,a\n3,4,b\n" * 125_000)
        said: list[str] = []
        dataset = load(definition_of(path), said.append)
        assert dataset.rows.shape == (250_000, 2)
        assert said[-1].endswith(f"rows of file://{path} read")


class TestParquet:
    def test_columns_are_found_by_name(self, tmp_path: Path) -> None:
        dataset = load_parquet(
            tmp_path, {"kind": ["b", "a"], "note": ["x", "y"], "height": [2, 4], "width": [1.5, 3]}
        )
        assert dataset.rows.tolist() == [[1.5, 2], [3, 4]]
        assert dataset.class_names == ("a", "b")
        assert dataset.targets.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("kind", "names"),
        [
            (pa.array([1, 0], pa.int8()), ("0", "1")),
            (pa.array([True, False]), ("false", "true")),
            (pa.array([1.5, 0]), ("0", "1.5")),
            (pa.array(["b", "a"]).dictionary_encode(), ("a", "b")),
            (pa.array(["b", "a"], pa.large_string()), ("a", "b")),
        ],
        ids=str,
    )
    def test_classes_are_named_by_their_text(
        self, tmp_path: Path, kind: pa.Array, names: tuple[str, ...]
    ) -> None:
        dataset = load_parquet(tmp_path, {"kind": kind, "width": [1, 2], "height": [3, 4]})
        assert dataset.class_names == names
        assert dataset.targets.tolist() == [1, 0]

    @pytest.mark.parametrize(
        "width",
        [
            pa.array([1, None], pa.int32()),
            pa.array([1, None], pa.decimal128(10, 2)),
            pa.array([True, None]),
            pa.array(["1.0", None]),
            pa.array([" 1", ""]),
            pa.array(["1", None]).dictionary_encode(),
        ],
        ids=lambda width: str(width.type),
    )
    def test_numbers_may_be_of_many_types(self, tmp_path: Path, width: pa.Array) -> None:
        dataset = load_parquet(tmp_path, {"kind": ["a", "b"], "width": width, "height": [3, 4]})
        assert dataset.rows[0, 0] == 1
        assert np.isnan(dataset.rows[1, 0])

    def test_the_same_rows_have_the_same_fingerprint_as_in_a_csv(self, tmp_path: Path) -> None:
        columns = {"width": [1, 3, 5], "height": [2, 4, 6], "kind": ["a", "b", "a"]}
        from_parquet = load_parquet(tmp_path, columns).fingerprint
        assert from_parquet.sha256 == load_csv(tmp_path, FLOWERS).fingerprint.sha256


class TestFingerprint:
    @pytest.mark.parametrize(
        "other",
        [
            FLOWERS.replace("1,2,a", "1,2.5,a"),
            FLOWERS.replace("1,2,a", "1,2,b"),
            FLOWERS.replace("a\n", "c\n"),
            "width,height,kind\n3,4,b\n1,2,a\n5,6,a\n",
        ],
        ids=["value", "target", "name-of-a-class", "order"],
    )
    def test_other_rows_have_another(self, tmp_path: Path, other: str) -> None:
        plain = load_csv(tmp_path, FLOWERS).fingerprint
        assert load_csv(tmp_path, other).fingerprint.sha256 != plain.sha256

    def test_it_says_what_was_read(self, tmp_path: Path) -> None:
        found = load_csv(tmp_path, FLOWERS).fingerprint
        assert (found.n_rows, found.columns) == (3, ("width", "height", "kind"))
        assert found.source == f"file://{tmp_path}/rows.csv"


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "rows.csv is empty; expected a header"),
            (b"\n\n", "rows.csv is not CSV: "),
            (b"width,height,kind\n", "rows.csv has no rows; expected some under its header"),
            (b"width,kind\n1,a\n", "rows.csv lacks the column 'height'; it has width, kind: "),
            (b"Width,kind\n1,a\n", "rows.csv lacks the column 'width' and 1 more; it has Width, "),
            (b"width,width,height,kind\n", "rows.csv has 2 columns named 'width'"),
            (b"width,height,\xff\n1,2,a\n", "rows.csv is not CSV: 'utf-8' codec can't decode"),
            (b"width,height,kind\n1,2,\xff\n", r'kind is "\xff" in line 2, expected UTF-8'),
            (b"width,height,kind\n1,\xff,a\n", r'height is "\xff" in line 2, expected UTF-8'),
            (b"PAR1\x00\x01\x02", "rows.csv is not CSV: "),
        ],
    )
    def test_what_is_no_csv_with_these_columns_is_refused(
        self, tmp_path: Path, content: bytes, expected: str
    ) -> None:
        assert expected in message(tmp_path, content)

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ("1,2,a\n\n3,abc,b\n", 'height is "abc" in line 4, expected a number'),
            ('1,2,"a\nb"\n3,abc,b\n', 'height is "abc" in line 4, expected a number'),
            ("1,2,a\n\n3,4,b,5\n", "rows.csv has 4 fields in line 4, expected 3 as in the header"),
            ("1,2,a\n3\n", "rows.csv has 1 fields in line 3, expected 3 as in the header"),
            ("1,2,a\n3,1_000,b\n", 'height is "1_000" in line 3'),
            ("1,2,a\n3,4,\n5,6,\n", "the target kind is missing in 2 of 3 rows, first in line 3"),
            (f"1,{'x' * 99},a\n", f'height is "{"x" * 60}..." in line 2'),
        ],
    )
    def test_a_wrong_value_is_named_with_its_line(
        self, tmp_path: Path, rows: str, expected: str
    ) -> None:
        assert expected in message(tmp_path, f"width,height,kind\n{rows}")

    @pytest.mark.parametrize(
        ("last", "expected"),
        [
            ("5,6", "rows.csv has 2 fields in line 100002, expected 4"),
            ("5,six,a,", 'height is "six" in line 100002'),
            ("5,6,,", "the target kind is missing in 1 of 100001 rows, first in line 100002"),
        ],
    )
    def test_a_wrong_line_is_found_beyond_the_first_block(
        self, tmp_path: Path, last: str, expected: str
    ) -> None:
        rows = f"1,2,a,{'-' * 100}\n" * 100_000
        assert expected in message(tmp_path, f"width,height,kind,note\n{rows}{last}\n")

    def test_a_line_can_be_too_long_to_be_found_again(self, tmp_path: Path) -> None:
        content = f'width,height,kind,note\n1,2,a,"{"x" * 200_000}"\n3,four,b,\n'
        assert 'height is "four" in row 2, ' in message(tmp_path, content)

    @pytest.mark.parametrize("target", ["nan", ""])
    def test_a_missing_number_to_predict_is_refused(self, tmp_path: Path, target: str) -> None:
        content = f"width,height,kind\n1,2,-1\n3,4,{target}\n"
        assert "the target kind is missing in 1 of 2 rows, first in line 3; remove" in message(
            tmp_path, content, estimator=REGRESSOR
        )

    def test_an_unknown_category_is_named_with_known_ones(self, tmp_path: Path) -> None:
        colour = {"name": "width", "type": "category", "categories": ["red", "blue", "green"]}
        content = "width,height,kind\nred,2,a\ngren,4,b\n"
        assert ('width is "gren" in line 3, expected a category: green, red, blue') in message(
            tmp_path, content, features=[colour, {"name": "height"}]
        )

    def test_an_unknown_class_is_counted(self, tmp_path: Path) -> None:
        target = {"name": "kind", "classes": ["b", "c"]}
        assert (
            'the target kind is "a" in 2 of 3 rows, first in line 2; target.classes are b, c: '
        ) in message(tmp_path, FLOWERS, target=target)

    def test_a_number_taken_for_classes_is_noticed(self, tmp_path: Path) -> None:
        rows = "".join(f"1,2,{number}\n" for number in range(1001))
        assert "has 1001 different values, expected at most 1000 classes" in message(
            tmp_path, f"width,height,kind\n{rows}"
        )

    def test_a_parquet_file_that_is_none_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.parquet"
        path.write_text(FLOWERS)
        with pytest.raises(TrainingError, match=r"rows\.parquet is not Parquet: "):
            load(definition_of(path), print)

    def test_a_parquet_file_cut_short_is_refused(self, tmp_path: Path) -> None:
        columns = {"width": [1.0, 2.0], "height": [3, 4], "kind": ["a", "b"]}
        load_parquet(tmp_path, columns)
        path = tmp_path / "rows.parquet"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(TrainingError, match=r"rows\.parquet is not Parquet: "):
            load(definition_of(path), print)

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"width": [1, 2]}, "rows.parquet lacks the column 'height' and 1 more; it has width:"),
            (
                {"width": ["1", "x"], "height": [1, 2], "kind": ["a", "b"]},
                'width is "x" in row 2, expected a number',
            ),
            (
                {"width": pa.array([1, 2], pa.date32()), "height": [1, 2], "kind": ["a", "b"]},
                "width is of type date32[day], expected numbers",
            ),
            (
                {"width": [1, 2], "height": [1, 2], "kind": [["a"], ["b"]]},
                "kind is of type list<element: string>, expected texts or numbers",
            ),
            (
                {"width": [1, 2], "height": [1, 2], "kind": ["a", None]},
                "the target kind is missing in 1 of 2 rows, first in row 2",
            ),
            (
                {"width": [], "height": [], "kind": []},
                "rows.parquet has no rows",
            ),
        ],
    )
    def test_a_wrong_column_of_a_parquet_file_is_named(
        self, tmp_path: Path, columns: dict[str, Any], expected: str
    ) -> None:
        assert expected in parquet_message(tmp_path, columns)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("nowhere/rows.csv", "nowhere/rows.csv does not exist; correct data.url"),
            ("file:///nowhere/rows.csv", "file:///nowhere/rows.csv does not exist; correct"),
        ],
    )
    def test_what_cannot_be_opened_is_told(self, url: str, expected: str) -> None:
        with pytest.raises(TrainingError) as raised:
            load(definition_of(url), print)
        assert expected in str(raised.value)

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match=r"cannot be read as CSV: IsADirectoryError"):
            load(definition_of(tmp_path), print)

    @pytest.mark.skipif(
        importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed here"
    )
    def test_a_store_that_is_not_installed_says_what_to_install(self) -> None:
        with pytest.raises(TrainingError, match=r"pip install 'abserve\[gcs\]'"):
            load(definition_of("gs://bucket/rows.csv"), print)

    def test_what_may_be_secret_in_a_url_is_not_repeated(self) -> None:
        with pytest.raises(TrainingError) as raised:
            load(definition_of("file:///nowhere/rows.csv?signature=hidden"), print)
        assert "hidden" not in str(raised.value)


CELLS = st.one_of(
    st.sampled_from([b"1", b"2.5", b"", b"nan", b"inf", b"1e999", b'"', b"a", b"b", b"\xff"]),
    st.binary(max_size=4),
)
LINES = st.lists(st.lists(CELLS, min_size=1, max_size=4).map(b",".join), max_size=8).map(b"\n".join)
FILES = st.one_of(
    st.binary(max_size=100), LINES, LINES.map(lambda lines: b"width,height,kind\n" + lines)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=FILES, estimator=st.sampled_from([CLASSIFIER, REGRESSOR]))
def test_whatever_a_file_holds_is_rows_or_an_error_of_ours(
    tmp_path: Path, content: bytes, estimator: str
) -> None:
    try:
        dataset = load_csv(tmp_path, content, estimator=estimator)
    except TrainingError:
        return
    assert dataset.rows.shape == (len(dataset.targets), 2)
    assert dataset.fingerprint.n_rows == len(dataset.rows) > 0
    assert not np.isnan(dataset.targets).any()
