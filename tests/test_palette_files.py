"""Palettes as files. Oracles: bytes made by hand from the formats' descriptions, and Pillow for pictures."""

import io
import json
import struct

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from test_image import rgb_profile

from diffquant.arguments import colors_from
from diffquant.console import UsageError
from diffquant.image import ImageError
from diffquant.palette.files import WRITABLE, PaletteFileError, palette_bytes, read_palette

THREE = np.array([[255, 0, 128], [0, 0, 0], [18, 52, 86]], np.uint8)


def colors_of(k, seed=0):
    """Different ones, in no order."""
    codes = np.random.default_rng(seed).choice(1 << 24, k, replace=False)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)


@pytest.fixture
def written(tmp_path):
    def write(data, name="some.txt"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


@pytest.mark.parametrize("suffix", WRITABLE)
@hypothesis.settings(
    max_examples=15, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(k=st.sampled_from([1, 2, 16, 17, 255, 256]) | st.integers(1, 256), seed=st.integers(0, 99))
def test_every_format_gives_back_what_was_written(written, suffix, k, seed):
    colors = colors_of(k, seed)
    data = palette_bytes(colors, suffix)
    np.testing.assert_array_equal(read_palette(written(data, f"some{suffix.upper()}")), colors)


@pytest.mark.parametrize("suffix", [".png", ".gpl", ".act", ".json", ".txt"])
def test_a_format_is_known_without_its_ending(written, suffix):
    np.testing.assert_array_equal(read_palette(written(palette_bytes(THREE, suffix), "palette")), THREE)


def test_an_act_holds_768_bytes_of_colours_and_two_numbers():
    expected = bytes([255, 0, 128, 0, 0, 0, 18, 52, 86]) + bytes(759) + struct.pack(">HH", 3, 0xFFFF)
    assert palette_bytes(THREE, ".act") == expected


def test_acts_of_both_sizes_are_read(written):
    entries = colors_of(256)
    np.testing.assert_array_equal(read_palette(written(entries.tobytes(), "full.act")), entries)
    few = entries.tobytes() + struct.pack(">HH", 4, 1)  # the second of four is the transparent one
    np.testing.assert_array_equal(read_palette(written(few, "few.act")), entries[[0, 2, 3]])
    padded = THREE[[0, 2]].tobytes().ljust(768, b"\0")
    np.testing.assert_array_equal(read_palette(written(padded, "old.act")), THREE[[0, 2, 1]])  # black comes once


@pytest.mark.parametrize("start", [b"BM\x07", b"\xff\xd8\xff"])
def test_an_act_is_one_even_if_its_first_colour_is_the_mark_of_an_image(written, start):
    path = written(start + bytes(765) + struct.pack(">HH", 1, 0xFFFF), "odd.act")
    assert read_palette(path).tolist() == [list(start)]


def test_a_gimp_palette_as_other_programs_write_it(written):
    text = (
        "GIMP Palette\r\nName: 12 3 4 Bears\r\nColumns: 4\r\n# 1 2 3\r\n"
        "255   0 128\tpink\r\n\r\n  0 0 0\r\n#end\r\n 18\t52 86 200 Untitled: 7\r\n"
    )
    np.testing.assert_array_equal(read_palette(written(text, "some.gpl")), THREE)
    np.testing.assert_array_equal(read_palette(written(text, "unnamed")), THREE)


def test_a_gimp_palette_as_the_format_is_described():
    lines = palette_bytes(THREE, ".gpl").decode().splitlines()
    assert lines[0] == "GIMP Palette"
    assert [line.split(":")[0] for line in lines[1:3]] == ["Name", "Columns"]
    entries = [line for line in lines[3:] if not line.startswith("#")]
    assert [line.split()[:3] for line in entries] == [["255", "0", "128"], ["0", "0", "0"], ["18", "52", "86"]]


@pytest.mark.parametrize(
    "text",
    [
        "#ff0080\n#000\n#123456\n",
        "ff0080\n000000\n123456",
        "\ufeff;paint.net Palette File\r\n;Colors: 3\r\nFFFF0080\r\nff000000\r\nFF123456\r\n",
        "# mine\n#\n## of three\n\n #FF0080 # pink\nblack ; of course\n  // the last\n#123456// so\n\n",
        '["#ff0080", "black", "#123456"]',
        "[[255, 0, 128], [0, 0, 0], [18, 52, 86]]",
        '{"name": "x", "colors": [{"color": "#ff0080", "share": 0.5}, [0, 0, 0], "#123456"]}',
        "#ff0080\n#ff0080\n#000\n#123456\n#000000\n",
    ],
)
def test_colours_in_text(written, text):
    np.testing.assert_array_equal(read_palette(written(text, "palette")), THREE)


def test_texts_are_what_other_programs_read():
    assert palette_bytes(THREE, ".hex") == b"ff0080\n000000\n123456\n"
    assert palette_bytes(THREE, ".txt") == b"#ff0080\n#000000\n#123456\n"
    assert json.loads(palette_bytes(THREE, ".json")) == {"colors": ["#ff0080", "#000000", "#123456"]}


@pytest.mark.parametrize("k", [1, 3, 16, 17, 40, 256])
def test_a_swatch_shows_each_colour_and_no_other(k):
    colors = colors_of(k)
    with Image.open(io.BytesIO(palette_bytes(colors, ".png"))) as image:
        assert image.mode == "P"
        assert image.getpalette() == colors.ravel().tolist()
        seen, areas = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0, return_counts=True)
    np.testing.assert_array_equal(seen, np.unique(colors, axis=0))
    assert areas.max() <= 2.01 * areas.min()


def image_bytes(image, file_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def indexed(**options):
    """Entries 3, 1 and 2 of four are used, first the third."""
    image = Image.fromarray(np.array([[2, 0, 0, 1], [1, 1, 2, 0]], np.uint8))
    image.putpalette(bytes([0, 0, 0, 18, 52, 86, 255, 0, 128, 9, 9, 9]))
    return image_bytes(image, **options)


def test_of_an_indexed_picture_used_entries_come_in_the_order_of_the_palette(written):
    expected = THREE[[1, 2, 0]]
    np.testing.assert_array_equal(read_palette(written(indexed(), "some.png")), expected)
    np.testing.assert_array_equal(read_palette(written(indexed(file_format="BMP"), "some.bmp")), expected)


def test_an_indexed_picture_s_profile_is_heeded(written):
    path = written(indexed(icc_profile=rgb_profile("grb")), "swapped.png")  # it shows red as green
    assert np.abs(read_palette(path).astype(int) - THREE[[1, 2, 0]][:, [1, 0, 2]]).max() <= 1


def test_transparent_pixels_are_no_colours(written):
    np.testing.assert_array_equal(read_palette(written(indexed(transparency=1), "some.png")), THREE[[1, 0]])
    pixels = np.dstack([THREE[[[1, 0, 0, 2, 0]]], np.array([[255, 255, 0, 255, 99]], np.uint8)])
    path = written(image_bytes(Image.fromarray(pixels)), "alpha.png")
    np.testing.assert_array_equal(read_palette(path), THREE[[1, 0, 2]])
    pixels[..., 3] = 0
    with pytest.raises(PaletteFileError, match="no colours"):
        read_palette(written(image_bytes(Image.fromarray(pixels)), "clear.png"))


def test_of_any_other_picture_colours_come_as_they_appear(written):
    path = written(image_bytes(Image.fromarray(THREE[[[1, 0, 1], [0, 2, 1]]])), "some")
    np.testing.assert_array_equal(read_palette(path), THREE[[1, 0, 2]])


MANY = "".join(f"#{n:06x}\n" for n in range(10_001))
WRONG = {  # name, content, and what the line must say
    "no colour": ("some.txt", "red\n\n#0f0\nreddish\n", "some.txt, line 4: colour 'reddish'; expected '#rgb'"),
    "digits": ("some.hex", "ff0000\nff00\n", "some.hex, line 2: colour 'ff00'"),
    "mistyped after a hash": ("some.txt", "#ff0000\n#gg0000\n", "some.txt, line 2: colour '#gg0000'"),
    "translucent": ("some.txt", "80ff0000\n", "some.txt, line 1: colour '80ff0000'"),
    "two on a line": ("some.txt", "red blue\n", "some.txt, line 1: colour 'red blue'"),
    "too many": ("some.txt", MANY, "some.txt: 10001 colours; expected a palette of 1 to 256"),
    "empty": ("some.txt", "", "some.txt: empty file"),
    "only a mark": ("some.txt", b"\xef\xbb\xbf", "some.txt: no colours"),
    "only comments": ("some.txt", "# none\n\n; none\n", "some.txt: no colours"),
    "no text": ("some.txt", b"\xff\xfe\x80", "some.txt: bytes that are no text"),
    "no text of its own": ("some", b"red\n\0\n", "some: bytes that are no text"),
    "garbage": ("some.gpl", np.random.default_rng(0).bytes(900), "some.gpl: bytes that are no text"),
    "long line": ("some.txt", "x" * 10_000, "x...'; expected"),
    "gimp without its name": ("some.gpl", "1 2 3\n", "some.gpl, line 1: '1 2 3'; expected 'GIMP Palette'"),
    "gimp with a wrong line": ("some.gpl", "GIMP Palette\n1 2 3 x\n1 2\n", "some.gpl, line 3: '1 2'; expected red"),
    "gimp out of range": ("some.gpl", "GIMP Palette\n1 256 3 x\n", "some.gpl, line 2: '1 256 3 x'"),
    "gimp below zero": ("some.gpl", "GIMP Palette\n1 -2 3\n", "some.gpl, line 2"),
    "gimp with a late field": ("some.gpl", "GIMP Palette\n1 2 3\nName: x\n", "some.gpl, line 3: 'Name: x'"),
    "gimp without colours": ("some.gpl", "GIMP Palette\nName: x\n", "some.gpl: no colours"),
    "short act": ("some.act", bytes(767), "some.act: 767 bytes; expected 768 or 772"),
    "long act": ("some.act", bytes(773), "some.act: 773 bytes"),
    "act that counts too far": ("some.act", bytes(768) + b"\1\1\0\0", "some.act: a count of 257 colours"),
    "act that counts none": ("some.act", bytes(772), "some.act: a count of 0 colours"),
    "no json": ("some.json", '{\n"colors": [1,,2]\n}', "some.json, line 2: no JSON"),
    "json without colours": ("some.json", '{"colours": []}', "some.json: no list of colours; expected a list, or an"),
    "json of a number": ("some.json", "3", "some.json: no list"),
    "json with none": ("some.json", "[]", "some.json: no colours"),
    "json of wrong colours": ("some.json", '["red", [1, 2, 300]]', "some.json, colour 2: '[1, 2, 300]'; expected"),
    "json of parts": ("some.json", "[[0.5, 0, 1]]", "some.json, colour 1: '[0.5, 0, 1]'"),
    "json of wrong words": ("some.json", '["reddish"]', "some.json, colour 1: colour 'reddish'"),
    "deep json": ("some.json", "[" * 100_000, "some.json: JSON too deep"),
    "broken picture": ("some.png", palette_bytes(THREE, ".png")[:60], "some.png: truncated"),
    "photo": ("some.png", image_bytes(Image.fromarray(colors_of(300)[None])), "some.png: 300 colours; expected a pal"),
}


@pytest.mark.parametrize(("name", "content", "text"), WRONG.values(), ids=WRONG)
def test_a_bad_file_is_named_with_its_line(written, name, content, text):
    with pytest.raises(ImageError) as caught:
        read_palette(written(content, name))
    line = str(caught.value)
    assert text in line
    assert line.isprintable()
    assert len(line) < 400


def test_a_missing_file_is_the_system_s_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_palette(tmp_path / "none.gpl")


@pytest.mark.parametrize(
    ("k", "suffix", "text"), [(0, ".gpl", "found 0"), (257, ".gpl", "found 257"), (2, ".gif", "gif")]
)
def test_nothing_else_is_written(k, suffix, text):
    with pytest.raises(ValueError, match=text):
        palette_bytes(colors_of(k), suffix)


# As --palette and --pin read them


@pytest.mark.parametrize("option", ["--palette", "--pin"])
@pytest.mark.parametrize("suffix", WRITABLE)
def test_options_take_files_of_every_format(written, option, suffix):
    path = written(palette_bytes(THREE, suffix), f"brand{suffix}")
    assert colors_from(str(path), option) == tuple(map(tuple, THREE.tolist()))


def test_options_take_more_colours_than_a_file_name_has_letters():
    text = ",".join(f"#{n:06x}" for n in range(256))
    assert colors_from(text, "--palette") == tuple((0, 0, n) for n in range(256))


def test_a_colour_twice_is_a_mistake_in_an_option_only(written):
    with pytest.raises(UsageError, match="--pin: found #f00 twice; expected each colour once"):
        colors_from("red,#f00", "--pin")
    assert colors_from(str(written("red\n#f00\n")), "--pin") == ((255, 0, 0),)


def test_a_palette_file_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"--palette: found no file brand\.gpl"):
        colors_from("brand.gpl", "--palette")
