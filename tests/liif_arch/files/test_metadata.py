"""Colour profile, EXIF, resolution and text: kept where a format holds them, else said."""

from io import BytesIO

import numpy as np
import profiles
import pytest
import tifffile
from helpers import photo
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from liif_arch import read_picture, write_image
from liif_arch.errors import UserError
from liif_arch.files.formats import DPI, EXIF, FORMATS, GAMMA, ICC, TEXT
from liif_arch.files.images import Metadata

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of damaged EXIF
ADOBE, GRAY = profiles.adobe_rgb(), profiles.gray()
Base, IFD = ExifTags.Base, ExifTags.IFD
SUBJECT_AREA = 37396
WRITTEN = [
    suffix
    for suffix, able in FORMATS.items()
    if 'uint8' in able.dtypes and 3 in able.channels  # linear light carries no metadata
]
SOURCES = ('.png', '.jpg', '.webp', '.tif', '.avif')


def camera_exif(orientation: int = 6) -> Image.Exif:
    """What a camera writes, with a thumbnail and with sides in pixels."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model], exif[Base.Artist] = 'Maker', 'Model 5', 'Zoë'.encode()
    exif[Base.DateTime], exif[Base.Orientation] = '2024:05:06 07:08:09', orientation
    exif[IFD.Exif] = {
        Base.ExposureTime: IFDRational(1, 250),
        Base.ISOSpeedRatings: 400,
        Base.ColorSpace: 65535,
        Base.DateTimeOriginal: '2024:05:06 07:08:09',
        Base.ExifVersion: b'0232',
        Base.ExifImageWidth: 30,
        Base.ExifImageHeight: 20,
        SUBJECT_AREA: (3, 4),
        IFD.Interop: {1: 'R03', 2: b'0100'},
    }
    exif[IFD.GPSInfo] = {1: 'N', 2: (48.0, 8.0, 30.5), 3: 'E', 4: (11.0, 34.0, 12.25)}
    return exif


def save(path, image=None, icc=ADOBE, dpi=(300, 240)) -> None:
    """A file that another program wrote, with everything."""
    exif = camera_exif()
    if path.suffix in ('.webp', '.avif'):  # which say it there alone
        exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = (*dpi, 2)
    options = {'icc_profile': icc, 'dpi': dpi, 'exif': exif.tobytes()}
    if path.suffix == '.png':
        text = PngImagePlugin.PngInfo()
        text.add_text('Title', 'A cat')
        text.add_itxt('Comment', 'Zoë 猫', 'en')
        options['pnginfo'] = text
    if path.suffix == '.webp':
        options |= {'lossless': True}
    if path.suffix == '.tif':
        options['exif'] = Image.Exif()
        options['exif'].load(camera_exif().tobytes())
    Image.fromarray(photo(20, 30) if image is None else image).save(path, **options)


def exif_of(path) -> tuple[dict, dict, dict]:
    """EXIF as Pillow reads it: description, exposure, place."""
    with Image.open(path) as image:
        exif = image.getexif()
        return dict(exif), dict(exif.get_ifd(IFD.Exif)), dict(exif.get_ifd(IFD.GPSInfo))


def assert_exif(path, size: tuple[int, int], lossy_source: bool = False) -> None:
    """EXIF of `camera_exif`, for an upright file of this size (H, W)."""
    described, exposure, place = exif_of(path)
    assert {tag: described.get(tag) for tag in (Base.Make, Base.Model, Base.DateTime)} == {
        Base.Make: 'Maker',
        Base.Model: 'Model 5',
        Base.DateTime: '2024:05:06 07:08:09',
    }
    assert described[Base.Artist].encode('latin-1').decode('utf-8') in (
        'Zoë',
        'Zo??' if lossy_source else 'Zoë',
    )
    assert described.get(Base.Orientation, 1) == 1
    assert float(exposure[Base.ExposureTime]) == 1 / 250 and exposure[Base.ISOSpeedRatings] == 400
    assert (
        exposure[Base.DateTimeOriginal] == '2024:05:06 07:08:09'
        and exposure[Base.ExifVersion] == b'0232'
    )
    assert (exposure[Base.ExifImageHeight], exposure[Base.ExifImageWidth]) == size
    assert SUBJECT_AREA not in exposure  # a place in the smaller picture
    assert place[1] == 'N' and [float(v) for v in place[4]] == [11, 34, 12.25]
    if not lossy_source:
        with Image.open(path) as image:
            assert image.getexif().get_ifd(IFD.Interop)[1] == 'R03'
    with Image.open(path) as image:
        assert not image.getexif().get_ifd(IFD.IFD1) or image.format == 'TIFF'


@pytest.mark.parametrize('target', WRITTEN)
@pytest.mark.parametrize('source', SOURCES)
def test_metadata__of_every_format_in_every_format(tmp_path, source, target):
    save(tmp_path / f'a{source}')
    pixels, metadata = read_picture(tmp_path / f'a{source}')
    assert pixels.shape == (30, 20, 3)
    larger, path, able = (
        np.kron(pixels, np.ones((3, 2, 1), np.uint8)),
        tmp_path / f'b{target}',
        FORMATS[target],
    )
    write_image(path, larger, metadata)
    with Image.open(path) as image:
        assert image.size == (40, 90)
        info = dict(image.info)
    assert (info.get('icc_profile') == ADOBE) == (ICC in able.metadata)
    if EXIF in able.metadata:  # Pillow writes TIFF and reads AVIF with less of it
        assert_exif(path, (90, 40), lossy_source=source in ('.avif', '.tif'))
    if DPI in able.metadata and target not in ('.webp', '.avif'):
        assert info['dpi'] == pytest.approx((300, 240), abs=0.01)
    elif DPI in able.metadata:
        described, _, _ = exif_of(path)
        assert (described[Base.XResolution], described[Base.YResolution]) == pytest.approx(
            (300, 240), abs=0.01
        )
    found = {ICC, EXIF, DPI} | ({TEXT} if source == '.png' else set())
    assert set(metadata.left_out(target)) == found - set(able.metadata)
    if source == target == '.png':
        assert (
            info['Title'] == 'A cat'
            and info['Comment'] == 'Zoë 猫'
            and info['Comment'].lang == 'en'
        )
    assert np.abs(read_picture(path).pixels.astype(int) - larger).max() <= (60 if able.lossy else 0)
    assert read_picture(path).metadata.left_out(target) == ()


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32', 'float64'])
def test_metadata__in_tiff_of_every_kind(tmp_path, dtype, channels):
    """Pillow opens few of these; tifffile reads the tags of all."""
    save(tmp_path / 'a.jpg')
    _, metadata = read_picture(tmp_path / 'a.jpg')
    metadata = metadata._replace(icc=GRAY if channels < 3 else ADOBE)
    image = (
        np.random.default_rng(0).random((70, 50, channels)) * (255 if dtype[0] == 'u' else 1)
    ).astype(dtype)
    write_image(tmp_path / 'b.tif', image, metadata)
    with tifffile.TiffFile(tmp_path / 'b.tif') as file:
        page = file.pages.first
        assert np.array_equal(file.asarray().reshape(image.shape), image) and len(file.pages) == 1
        assert page.iccprofile == metadata.icc and page.tags['XResolution'].value == (300, 1)
        assert page.tags['Make'].value == 'Maker' and page.tags['Artist'].value == 'Zoë'
        assert page.tags['ExifTag'].value['ISOSpeedRatings'] == 400
        assert page.tags['ExifTag'].value['PixelXDimension'] == 50
        assert page.tags['GPSTag'].value['GPSLatitudeRef'] == 'N'
    again = read_picture(tmp_path / 'b.tif')
    assert np.array_equal(again.pixels, image) and again.metadata.left_out('.tif') == ()
    assert (again.metadata.icc, again.metadata.dpi) == (metadata.icc, metadata.dpi)
    write_image(
        tmp_path / 'c.jpg', np.zeros((90, 40, 3), np.uint8), again.metadata._replace(icc=None)
    )
    assert_exif(tmp_path / 'c.jpg', (90, 40))


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_metadata__does_not_touch_the_pixels(tmp_path, suffix, dtype, channels):
    save(tmp_path / 'a.png')
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 8, channels), dtype)
    metadata = read_picture(tmp_path / 'a.png').metadata
    write_image(
        tmp_path / f'b{suffix}', image, metadata._replace(icc=GRAY if channels < 3 else ADOBE)
    )
    found, again = read_picture(tmp_path / f'b{suffix}')
    assert (
        np.array_equal(found, image)
        and found.dtype == dtype
        and again.icc == (GRAY if channels < 3 else ADOBE)
    )


def chroma(image: Image.Image, profile: bytes) -> np.ndarray:
    """CIELAB (a, b, L) of what a viewer shows that heeds profiles."""
    lab = ImageCms.createProfile('LAB')
    profile = ImageCms.ImageCmsProfile(BytesIO(profile))
    return (
        np.asarray(ImageCms.profileToProfile(image, profile, lab, outputMode='LAB'))
        .astype(np.int8)
        .astype(float)
    )


@pytest.mark.parametrize('target', ['.png', '.jpg', '.webp', '.tif'])
def test_metadata__an_adobe_rgb_photograph_keeps_its_colours(tmp_path, target):
    patches = np.kron(
        np.random.default_rng(1).integers(40, 215, (5, 5, 3)), np.ones((48, 48, 1))
    ).astype(np.uint8)
    Image.fromarray(patches).save(tmp_path / 'a.png', icc_profile=ADOBE)
    write_image(tmp_path / f'b{target}', *read_picture(tmp_path / 'a.png'))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    before = chroma(Image.fromarray(patches), ADOBE)
    with Image.open(tmp_path / f'b{target}') as image:
        image = image.convert('RGB')
        after, without = chroma(image, image.info['icc_profile']), chroma(image, srgb)
    error, lost = (
        np.linalg.norm((lab - before)[..., 1:], axis=2).mean() for lab in (after, without)
    )
    assert error < (2.5 if target == '.jpg' else 1e-6) and lost > 4


def test_metadata__a_profile_of_other_colours_is_left_out_and_said(tmp_path):
    gray, colours = photo(8, 9)[..., 0], photo(8, 9)
    for name, image, icc, said in (
        ('gray.png', gray, ADOBE, 'ICC profile (of RGB, not of gray)'),
        ('rgb.tif', colours, GRAY, 'ICC profile (of GRAY, not of RGB)'),
    ):
        save(tmp_path / name, image, icc)
        metadata = read_picture(tmp_path / name).metadata
        assert metadata.icc is None and said in metadata.left_out('.png')
    inks = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 9, 4), np.uint8), 'CMYK')
    for suffix in ('jpg', 'tif'):
        inks.save(tmp_path / f'inks.{suffix}', icc_profile=profiles.cmyk())
        pixels, metadata = read_picture(tmp_path / f'inks.{suffix}')
        assert pixels.shape == (8, 9, 3) and metadata.icc is None and not metadata.left_out('.png')
    save(tmp_path / 'la.png', np.dstack([gray, gray]), GRAY)
    assert read_picture(tmp_path / 'la.png').metadata.icc == GRAY


def test_metadata__gamma_of_png(tmp_path):
    chunks = ((b'gAMA', (100000).to_bytes(4, 'big')), (b'cHRM', bytes(range(32))))
    write_image(tmp_path / 'a.png', photo(8, 9), Metadata(png_chunks=chunks))
    metadata = read_picture(tmp_path / 'a.png').metadata
    assert (
        metadata.png_chunks == chunks
        and metadata.left_out('.jpg') == (GAMMA,)
        and not metadata.left_out('.png')
    )
    with Image.open(tmp_path / 'a.png') as image:
        assert image.info['gamma'] == 1
    srgb = Metadata(png_chunks=((b'sRGB', b'\0'), (b'gAMA', (45455).to_bytes(4, 'big'))))
    assert not srgb.left_out('.jpg')  # what every file without it is taken for


def test_metadata__what_is_not_carried_is_said(tmp_path):
    Image.fromarray(photo(8, 9)).save(tmp_path / 'a.jpg', xmp=b'<x:xmpmeta/>')
    assert read_picture(tmp_path / 'a.jpg').metadata.left_out('.jpg') == ('XMP',)
    Image.fromarray(photo(8, 9)).save(tmp_path / 'a.png', exif=b'Exif\0\0II*\0\x08\0\0\0\xff\xff')
    assert read_picture(tmp_path / 'a.png').pixels.shape == (8, 9, 3)
    Image.fromarray(photo(8, 9)).save(tmp_path / 'b.jpg', comment=b'a cat')
    assert read_picture(tmp_path / 'b.jpg').metadata.left_out('.png') == ('comment',)
    large = Metadata(exif=b'II*\0' + bytes(70000))
    assert large.left_out('.jpg') == (
        'EXIF (longer than a JPEG file holds)',
    ) and not large.left_out('.png')


def test_metadata__a_long_profile_in_a_jpeg_file(tmp_path):
    long = ADOBE + bytes(range(256)) * 600
    long = len(long).to_bytes(4, 'big') + long[4:]
    write_image(tmp_path / 'a.jpg', photo(8, 9), Metadata(icc=long))
    with Image.open(tmp_path / 'a.jpg') as image:
        assert image.info['icc_profile'] == long
    assert read_picture(tmp_path / 'a.jpg').metadata.icc == long


def test_metadata__of_jpeg_2000(tmp_path):
    import struct

    Image.fromarray(photo(8, 9)).save(tmp_path / 'a.jp2')
    data = (tmp_path / 'a.jp2').read_bytes()
    at = data.index(b'colr') - 4
    (length,) = struct.unpack('>I', data[at : at + 4])
    box = struct.pack('>I4sBBB', 11 + len(ADOBE), b'colr', 2, 0, 0) + ADOBE
    outer = data.index(b'jp2h') - 4
    size = struct.unpack('>I', data[outer : outer + 4])[0] + len(box) - length
    data = data[:outer] + struct.pack('>I', size) + data[outer + 4 : at] + box + data[at + length :]
    (tmp_path / 'b.jp2').write_bytes(data)
    assert read_picture(tmp_path / 'b.jp2').metadata.icc == ADOBE


def test_metadata__above_4_gb(tmp_path):
    """A sparse file: only its tags are written."""
    from liif_arch.files.tiff import tiff_writer

    save(tmp_path / 'a.jpg')
    with tiff_writer(
        tmp_path / 'b.tif', (40000, 40000, 3), np.uint8, read_picture(tmp_path / 'a.jpg').metadata
    ):
        pass
    with tifffile.TiffFile(tmp_path / 'b.tif') as file:
        page = file.pages.first
        assert file.is_bigtiff and page.shape == (40000, 40000, 3) and page.iccprofile == ADOBE
        assert (
            page.tags['Model'].value == 'Model 5'
            and page.tags['ExifTag'].value['PixelYDimension'] == 40000
        )
        assert page.tags['GPSTag'].value['GPSLongitudeRef'] == 'E'


@pytest.mark.parametrize('suffix', ['.avif', '.heic'])
@pytest.mark.parametrize(
    'primaries,transfer,kept', [(1, 13, ()), (9, 16, ((b'cICP', b'\x09\x10\0\1'),))]
)
def test_metadata__of_files_that_name_their_colours_by_number(
    tmp_path, suffix, primaries, transfer, kept
):
    """BT.2020 with the PQ curve, as video has it; the picture looks gray without a word of it."""
    path = tmp_path / f'a{suffix}'
    if suffix == '.heic':
        pytest.importorskip('pillow_heif').from_pillow(Image.fromarray(photo(64, 64))).save(path)
    else:
        Image.fromarray(photo(8, 9)).save(path)
    data = path.read_bytes()
    at = data.index(b'colrnclx') + 8
    path.write_bytes(data[:at] + bytes([0, primaries, 0, transfer]) + data[at + 4 :])
    metadata = read_picture(path).metadata
    assert metadata.png_chunks == kept and metadata.left_out('.tif') == ((GAMMA,) if kept else ())


def test_write_image__a_profile_of_other_colours_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'a\.png: found an ICC profile of RGB for gray'):
        write_image(tmp_path / 'a.png', photo(8, 9)[..., :1], Metadata(icc=ADOBE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'text,kept',
    [
        ('A cat', True),
        ('{"shape": [8, 9, 3]}', False),
        ('ImageJ=1.53\nimages=1', False),
        ('<?xml version="1.0"?><OME>', False),
    ],
)
def test_metadata__a_description_of_how_pixels_are_stored_is_not_kept(tmp_path, text, kept):
    tifffile.imwrite(
        tmp_path / 'a.tif', photo(8, 9), photometric='rgb', description=text, metadata=None
    )
    _, metadata = read_picture(tmp_path / 'a.tif')
    write_image(tmp_path / 'b.tif', photo(16, 18), metadata)
    with Image.open(tmp_path / 'b.tif') as image:
        assert image.getexif().get(Base.ImageDescription) == (text if kept else None)
