"""Libraries of the package's own texts, which a process opens once."""

from __future__ import annotations

import pytest

from sursum.compiler.native.library.own import open_own
from sursum.errors import CompileError

TEXT = "int sursum_seven(void) { return 7; }\n"


def test_a_text_is_opened_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SURSUM_CACHE", str(tmp_path))
    found = open_own(TEXT, ["sursum_seven"])
    assert found.handle.sursum_seven() == 7
    (library,) = tmp_path.glob("*.so")
    library.unlink()
    assert open_own(TEXT, ["sursum_seven"]) is found
    assert not library.exists()


def test_another_compiler_or_another_cache_is_another_library(tmp_path, monkeypatch):
    monkeypatch.setenv("SURSUM_CACHE", str(tmp_path / "one"))
    found = open_own(TEXT, ["sursum_seven"])
    monkeypatch.setenv("SURSUM_CACHE", str(tmp_path / "other"))
    assert open_own(TEXT, ["sursum_seven"]) is not found
    monkeypatch.setenv("CC", "no-such-compiler")
    for _ in range(2):
        with pytest.raises(CompileError, match="no-such-compiler"):
            open_own(TEXT, ["sursum_seven"])
