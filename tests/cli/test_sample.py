"""`certmix sample`, and certificates of what it drew: modes refuse each other's options, parts need a folder of their own."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import certmix

DRAW = ("--dataset", "digits", "--sigma", 0.5, "--N", 200, "--N0", 20, "--max", 6, "--seed", 1)


@pytest.fixture
def stored(run, model, tmp_path):
    result = run("sample", "--robust", model, *DRAW, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    return tmp_path / "run"


def test_sampling_draws_and_derives_nothing(run, stored, model, tmp_path):
    assert sorted(path.name for path in stored.iterdir() if not path.name.startswith(".")) == [
        "manifest.json",
        "shards",
    ]
    result = run("sample", "--robust", model, *DRAW, "--out", stored, "--json")
    assert json.loads(result.out) == {"run": str(stored), "inputs": 6, "sigma": 0.5, "seed": "0x1"}
    both = run("certify", "--robust", model, *DRAW, "--out", tmp_path / "other", "--json", "--radii", "0")
    again = run("certify", stored, "--json", "--radii", "0")
    rows = [json.loads(made.out)["certified_accuracy"] for made in (both, again)]
    for row in (*rows[0], *rows[1]):
        row["summary"].pop("seconds")
    assert rows[0] == rows[1]
    one, two = (certmix.read_statistics(folder) for folder in (stored, tmp_path / "other"))
    assert np.array_equal(one.estimation_counts, two.estimation_counts)


def test_it_says_what_the_draws_can_certify(run, model, tmp_path):
    result = run(
        "sample", "--robust", model, *DRAW, "--out", tmp_path / "run", "--mixing-weight", 0.5, "--mixing-weight", 1
    )
    assert "200 draws can certify radii up to 0.891 at weight 1; nothing can be certified at weight 0.5" in result.err


EVERY_OPTION = {
    "certify RUN": [
        *(("--N", 5), ("--N0", 5), ("--noise", "float"), ("--split", "nonsense"), ("--device", "cuda:99")),
        *(("--votes", "soft"), ("--robust", "h.safetensors"), ("--dataset", "digits"), ("--sigma", 0.5), ("--skip", 2)),
        *(("--max", 2), ("--seed", 3), ("--shard", "0/2"), ("--batch", 7), ("--trust-model",), ("--compile",)),
        *(("-M", "arch=mlp"), ("--on-invalid", "count"), ("--stop-at-radius", 0.1), ("--mixture", "m")),
    ],
    "certify --counts": [
        *(("--N", 5), ("--robust", "h.safetensors"), ("--certify-votes", "soft"), ("--mean-bound", "hoeffding")),
        *(("--real-valued",), ("--device", "cpu"), ("--indices", "1,2")),
    ],
    "certify --robust": [("--force",)],
}


@pytest.mark.parametrize(
    ("mode", "option"), [(mode, option) for mode, options in EVERY_OPTION.items() for option in options], ids=str
)
def test_a_mode_refuses_the_options_of_the_others(run, stored, mode, option):
    base = {
        "certify RUN": [stored],
        "certify --counts": ["--counts", "c.txt", "--sigma", 1],
        "certify --robust": ["--robust", "h.safetensors"],
    }[mode]
    result = run("certify", *base, *option)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"{mode} does not take --" in result.err or f"{mode} does not take -M" in result.err
    assert not (stored / "certificates.parquet").exists()


def test_all_of_them_are_named_at_once(run, stored):
    result = run("certify", stored, "--N", 5, "--noise", "float", "--split", "nonsense", "--device", "cuda:99")
    assert result.code == 2
    assert "certify RUN does not take --split, --N, --noise, --device" in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "html"), "--format must be one of markdown, latex, csv, got 'html'."),
        (("--mean-bound", "student"), "--mean-bound must be one of betting, bernstein, hoeffding"),
        (("--certify-votes", "soft"), "--certify-votes soft needs --votes soft or both, got hard."),
        (("--certifier", "cdf"), "--certifier cdf needs --votes soft or both, got hard."),
        (("--certifier", "cdf", "--votes", "soft", "--interval", "cohen"), "--certifier cdf needs --interval pair"),
        (("--real-valued", "--noise", "float"), "--real-valued needs integer noise, got --noise float."),
        (("--stop-at-radius", 0.1, "--interval", "cohen"), "--interval must be pair where sampling may stop early"),
        (("--shard", "2/2"), "--shard must be I/N with 0 <= I < N"),
        (("--N", 10**18), "--N must be a whole number from 1 to 1000000000, got '1000000000000000000'."),
        (("--batch", 0), "--batch must be a whole number"),
        (("--seed", -1), "--seed must be a whole number"),
        (("--max", -3), "--max must be a whole number"),
        (("--sigma", "nan"), "--sigma must be in (0, 100], got 'nan'."),
        (("--out", ""), "--out must name a path, got nothing."),
        (("--out", "x" * 256), "--out must have names of at most 255 bytes, got one of 256"),
    ],
    ids=str,
)
def test_everything_is_refused_before_a_draw(run, model, tmp_path, options, message):
    result = run("certify", "--robust", model, *DRAW, "--out", tmp_path / "run", *options, "--quiet")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert message in result.err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def parts(run, model, tmp_path):
    for number in range(3):
        out = tmp_path / f"part-{number}"
        assert run("sample", "--robust", model, *DRAW, "--shard", f"{number}/3", "--out", out).code == 0
    return [tmp_path / f"part-{number}" for number in range(3)]


def test_what_is_derived_of_parts_goes_where_it_is_told(run, parts, tmp_path):
    assert run("certify", parts[0]).code == 0
    before = (parts[0] / "certificates.parquet").read_bytes()
    refused = run("certify", *parts)
    assert (refused.code, refused.out) == (2, "")
    assert "are parts of one run: give --out FOLDER" in refused.err
    inside = run("certify", *parts, "--out", parts[1] / "inner")
    assert "--out must not be in another run's folder" in inside.err
    merged = run("certify", *parts, "--out", tmp_path / "merged")
    assert merged.code == 0, merged.err
    assert "6 of 6 inputs" in merged.err
    assert len(pq.read_table(tmp_path / "merged" / "certificates.parquet")) == 6
    assert (parts[0] / "certificates.parquet").read_bytes() == before
    verified = run("verify", *parts, "--certificates", tmp_path / "merged", "--sample", 2)
    assert verified.code == 0, verified.out
    assert "6 radii of certificates.parquet" in verified.out


def test_a_missing_part_is_noticed(run, parts, tmp_path):
    result = run("certify", parts[0], parts[2], "--out", tmp_path / "merged")
    assert "4 of 6 inputs of digits (split test, skip 1, max 6), 2 are MISSING" in result.err


def test_several_runs_have_no_folder_in_common(run, model, stored, tmp_path):
    other = tmp_path / "other"
    draw = tuple(1 if value == 0.5 else value for value in DRAW)
    assert run("sample", "--robust", model, *draw, "--out", other).code == 0
    assert "--out takes what is derived of one run" in run("certify", stored, other, "--out", tmp_path / "x").err
    result = run("certify", stored, other, "--json")
    assert [entry["files"][0] for entry in json.loads(result.out)["runs"]] == [
        str(folder / "certificates.parquet") for folder in (stored, other)
    ]


def test_a_colon_in_a_path_is_a_name_like_any_other(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("certify", "--robust", model, *DRAW, "--out", "a:b/run")
    assert result.code == 0, result.err
    assert (tmp_path / "a:b" / "run" / "certificates.parquet").is_file()


def test_certificates_replace_those_before_as_one_set(run, stored):
    assert run("certify", stored, "--mixing-weight", 0.8, "--mixing-weight", 1).code == 0
    assert run("certify", stored).code == 0
    assert [path.name for path in sorted(stored.glob("certificates*"))] == ["certificates.parquet", "certificates.tsv"]


def test_a_threshold_is_a_rule_like_a_weight(run, stored):
    result = run("certify", stored, "--threshold", 0.6, "--mixing-weight", 1, "--json")
    assert [row["rule"] for row in json.loads(result.out)["certified_accuracy"]] == ["weight 1", "threshold 0.6"]
    assert run("verify", stored, "--sample", 1).code == 0
