"""Tables of votes as text: they come back, say what they are, and stay sound where the same votes choose the class."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from certmix.certification.bounds import bound_probabilities
from certmix.certification.schedule import make_schedule
from certmix.errors import InvalidArgument
from certmix.formats.count_table import bound_counts, export_counts, read_count_table, write_count_table
from certmix.runs.store import from_records
from tests.records import manifest, record

COUNTS, LABELS = np.array([[990, 7, 3], [1, 2, 997], [400, 400, 200]]), np.array([0, 2, 1])


def test_what_is_written_comes_back(tmp_path):
    write_count_table(tmp_path / "c.txt", COUNTS, LABELS)
    assert (tmp_path / "c.txt").read_text() == "990 7 3 0\n1 2 997 2\n400 400 200 1\n"
    counts, labels = read_count_table(tmp_path / "c.txt")
    assert np.array_equal(counts, COUNTS)
    assert np.array_equal(labels, LABELS)
    with pytest.raises(InvalidArgument, match=r"c\.txt must not exist, but does"):
        write_count_table(tmp_path / "c.txt", COUNTS, LABELS)
    write_count_table(tmp_path / "c.txt", COUNTS[:1], LABELS[:1], force=True)
    assert len(read_count_table(tmp_path / "c.txt")[1]) == 1


@pytest.mark.parametrize(
    "save", [lambda path, table: np.savetxt(path, table), lambda path, table: np.savetxt(path, table, "%d", ",")]
)
def test_tables_that_numpy_writes_are_read(tmp_path, save):
    save(tmp_path / "c.txt", np.concatenate([COUNTS, LABELS[:, None]], axis=1))
    with (tmp_path / "c.txt").open("a") as handle:
        handle.write("# made elsewhere\n\n5\t5\t990\t2\n")
    counts, labels = read_count_table(tmp_path / "c.txt")
    assert counts.tolist() == [*COUNTS.tolist(), [5, 5, 990]]
    assert labels.tolist() == [0, 2, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a line of counts per image, got none"),
        ("1 2 0\n1 x 0\n", "line 2 must hold whole numbers up to 2.*53, got 'x'"),
        ("1.5 2 0\n", "line 1 must hold whole numbers up to 2.*53, got '1.5'"),
        ("nan 2 0\n", "line 1 must hold whole numbers up to 2.*53, got 'nan'"),
        ("1e400 2 0\n", "line 1 must hold whole numbers"),
        ("1 0\n", "line 1 must hold 2 counts and a label, got 2 numbers"),
        ("1 2 0\n1 2 3 0\n", "line 2 must hold 2 counts and a label, got 4 numbers"),
        ("1 -2 0\n", "line 1 must hold counts >= 0"),
        ("0 0 1\n", "that are not all 0"),
        ("1 2 2\n", r"line 1 must end with a label in 0\.\.1, got 2"),
    ],
)
def test_lines_that_are_none_are_named(tmp_path, text, message):
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(InvalidArgument, match=message) as caught:
        read_count_table(tmp_path / "c.txt")
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(InvalidArgument, match="count table must exist, got 'absent.txt'"):
        read_count_table("absent.txt")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgument, match="must be a text file of counts"):
        read_count_table(tmp_path / "c.bin")
    with pytest.raises(InvalidArgument, match=r"integers of shapes .*, got float64 of \(3, 3\)"):
        write_count_table(tmp_path / "d.txt", COUNTS / 2, LABELS)


def test_with_selection_counts_the_bounds_are_the_ordinary_ones():
    selection = np.array([[9, 1, 0], [0, 0, 10], [4, 6, 0]])
    found = bound_counts(COUNTS, sigma=0.5, selection_counts=selection, labels=LABELS)
    plain = bound_probabilities(selection, COUNTS, sigma=0.5, labels=LABELS, indices=np.arange(3))
    for field in dataclasses.fields(plain):
        assert np.array_equal(getattr(found, field.name), getattr(plain, field.name)), field.name
    with pytest.raises(InvalidArgument, match=r"selection counts must have shape \(3, 3\)"):
        bound_counts(COUNTS, sigma=0.5, selection_counts=selection[:2])


def test_without_them_the_failure_probability_is_shared_by_all_classes():
    found = bound_counts(COUNTS, sigma=0.5, failure_probability=0.003)
    assert found.promise.failure_probability == 0.003
    assert found.top_lower[0] == pytest.approx(stats.beta.ppf(0.0005, 990, 11), rel=1e-9)
    assert found.rival_upper[0] == pytest.approx(stats.beta.ppf(1 - 0.0005, 8, 993), rel=1e-9)


@pytest.mark.parametrize(
    "p", [[0.1] * 10, [0.4, 0.4] + [0.025] * 8, [0.9] + [0.1 / 9] * 9], ids=["ties", "two", "clear"]
)
def test_bounds_from_reused_counts_miss_no_more_often_than_stated(p):
    """Ties are where the votes that choose a class flatter it: bounds that ignore the choice miss too often there."""
    failure, draws, tables = 0.05, 60, 20_000
    counts = np.random.default_rng(5).multinomial(draws, p, size=tables)
    truth = np.tile(p, (tables, 1))

    def misses(bounds):
        rows = np.arange(tables)
        rival = truth.copy()
        rival[rows, bounds.prediction] = 0
        wrong = (bounds.top_lower > truth[rows, bounds.prediction]) | (bounds.rival_upper < rival.max(axis=1))
        return int(wrong.sum())

    limit = stats.binom.ppf(1 - 1e-6, tables, failure)
    assert misses(bound_counts(counts, sigma=1.0, failure_probability=failure)) <= limit
    if p[0] == 0.1:
        assert misses(bound_probabilities(counts, counts, sigma=1.0, failure_probability=failure)) > limit


def test_equal_tables_are_not_other_draws():
    with pytest.raises(
        InvalidArgument, match="selection counts must be of other draws than the counts, got an equal table"
    ):
        bound_counts(COUNTS, sigma=0.5, selection_counts=COUNTS.copy())


@pytest.mark.parametrize("cell", ["9007199254740993", "1e17", "nan", "inf", "12.5", "1e400"])
def test_counts_are_exact_or_refused(tmp_path, cell):
    (tmp_path / "c.txt").write_text(f"{cell} 3 0\n")
    with pytest.raises(InvalidArgument, match=r"line 1 must hold whole numbers up to 2\*\*53"):
        read_count_table(tmp_path / "c.txt")
    (tmp_path / "d.txt").write_text("9007199254740991 1 0\n9007199254740990 3 0\n")
    with pytest.raises(InvalidArgument, match=r"line 2 must hold counts .* at most 2\*\*53 together"):
        read_count_table(tmp_path / "d.txt")


def test_votes_that_a_table_cannot_tell_the_truth_about_are_not_exported(tmp_path):
    plain = from_records([record(i) for i in range(3)], manifest())
    export_counts(plain, tmp_path / "c.txt", tmp_path / "s.txt")
    assert read_count_table(tmp_path / "c.txt")[0].tolist() == [[7, 2, 1]] * 3
    assert read_count_table(tmp_path / "s.txt")[0].tolist() == [[4, 0, 0]] * 3
    invalid = from_records([record(0, (7, 2, 0), invalid=1)], manifest(on_invalid="count"))
    schedule = make_schedule(10, sigma=0.5, failure_probability=0.4, target_radius=0.0)
    stopped = from_records([record(0)], manifest(schedule=schedule))
    for statistics, message in ((invalid, "invalid votes"), (stopped, "schedule of a run that could stop early")):
        with pytest.raises(InvalidArgument, match=message):
            export_counts(statistics, tmp_path / "other.txt")
    assert not (tmp_path / "other.txt").exists()
