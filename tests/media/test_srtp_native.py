"""The native SRTP: the RFCs' vectors, and libsrtp as the other end."""

from __future__ import annotations

import itertools
import random
import struct

import pylibsrtp
import pytest

from media.plane import SrtpProfile
from tests.media.client import srtp_session

native = pytest.importorskip("media._native", reason="the extension was not built")
ffi, lib = native.ffi, native.lib

PROFILES = {
    SrtpProfile.AEAD_AES_256_GCM: 0,
    SrtpProfile.AEAD_AES_128_GCM: 1,
    SrtpProfile.AES128_CM_HMAC_SHA1_80: 2,
}
MALFORMED, AUTH, REPLAY, TOO_MANY = -1, -2, -3, -4
ANY_OUT, ANY_IN = pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND


class SrtpError(Exception):
    """A negative answer of the core."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Native:
    """One direction of the core's SRTP."""

    def __init__(self, pointer: object) -> None:
        assert pointer != ffi.NULL
        self._srtp = ffi.gc(pointer, lib.srtp_delete)

    @classmethod
    def from_master(cls, profile: SrtpProfile, master: bytes, plain: bool) -> Native:
        return cls(lib.srtp_new(PROFILES[profile], master, len(master), plain))

    @classmethod
    def from_session(
        cls, profile: SrtpProfile, key: bytes, salt: bytes, plain: bool, auth: bytes = bytes(20)
    ) -> Native:
        return cls(lib.srtp_new_raw(PROFILES[profile], key, salt, auth, plain))

    def session_keys(self, *, rtcp: bool) -> tuple[bytes, bytes, bytes]:
        key, salt, auth = (ffi.new(f"uint8_t[{n}]") for n in (32, 14, 20))
        lib.srtp_session_keys(self._srtp, rtcp, key, salt, auth)
        return bytes(key), bytes(salt), bytes(auth)

    def protect(self, packet: bytes, index: int) -> bytes:
        return self._run(lib.srtp_protect_rtp, packet, index)

    def protect_rtcp(self, packet: bytes, index: int) -> bytes:
        return self._run(lib.srtp_protect_rtcp, packet, index)

    def unprotect(self, packet: bytes) -> bytes:
        return self._run(lib.srtp_unprotect_rtp, packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        return self._run(lib.srtp_unprotect_rtcp, packet)

    def _run(self, function: object, packet: bytes, *index: int) -> bytes:
        out = ffi.new("uint8_t[]", len(packet) + 20)
        size = function(self._srtp, packet, len(packet), *index, out)  # type: ignore[operator]
        if size < 0:
            raise SrtpError(size)
        return bytes(ffi.buffer(out, size))


@pytest.fixture(params=["processor", "openssl"])
def plain(request: pytest.FixtureRequest) -> bool:
    """Both makers of AES; where the processor has no instructions for it they are the same."""
    return bool(request.param == "openssl")


def master_key(profile: SrtpProfile, seed: int) -> bytes:
    return random.Random(seed).randbytes(profile.key_length + profile.salt_length)


def rtp(sequence: int, payload: bytes, *, ssrc: int = 0x600D, timestamp: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, 111, sequence & 0xFFFF, timestamp, ssrc) + payload


# ------------------------------------------------------------------------------ the RFCs' vectors


def test_rfc_3711_b3_key_derivation(plain: bool) -> None:
    srtp = Native.from_master(
        SrtpProfile.AES128_CM_HMAC_SHA1_80,
        bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6"),
        plain,
    )
    key, salt, auth = srtp.session_keys(rtcp=False)
    assert key[:16] == bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")
    assert salt == bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1")
    assert auth == bytes.fromhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")


def test_rfc_3711_b2_counter_mode(plain: bool) -> None:
    # SSRC, sequence number and roll-over counter are zero, so zeros give the keystream.
    srtp = Native.from_session(
        SrtpProfile.AES128_CM_HMAC_SHA1_80,
        bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C"),
        bytes.fromhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"),
        plain,
    )
    protected = srtp.protect(bytes([0x80]) + bytes(11 + 48), 0)
    assert protected[12:60] == bytes.fromhex(
        "E03EAD0935C95E80E166B16DD92B4EB4"
        "D23513162B02D0F72A43A2FE4A5F97AB"
        "41E95B3BB0A2E8DD477901E4FCA894C0"
    )


GALLIA = bytes.fromhex("8040f17b8041f8d35501a0b2") + b"Gallia est omnis divisa in partes tres"
REPORT = bytes.fromhex(
    "81c8000d4d6172734e5450314e5450325254502000000"
    "42a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
)


@pytest.mark.parametrize(
    ("profile", "key_bytes", "expected"),
    [
        (
            SrtpProfile.AEAD_AES_128_GCM,
            16,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
            "899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            SrtpProfile.AEAD_AES_256_GCM,
            32,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b"
            "7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ],
)
def test_rfc_7714_16_1_srtp(
    profile: SrtpProfile, key_bytes: int, expected: str, plain: bool
) -> None:
    srtp = Native.from_session(profile, bytes(range(key_bytes)), b"Quid pro quo", plain)
    protected = srtp.protect(GALLIA, 0xF17B)
    assert protected == GALLIA[:12] + bytes.fromhex(expected)
    assert srtp.unprotect(protected) == GALLIA


def test_rfc_7714_17_1_srtcp(plain: bool) -> None:
    srtp = Native.from_session(
        SrtpProfile.AEAD_AES_128_GCM, bytes(range(16)), b"Quid pro quo", plain
    )
    protected = srtp.protect_rtcp(REPORT, 0x5D4)
    assert protected == bytes.fromhex(
        "81c8000d4d617273"
        "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda"
        "4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
    )
    assert srtp.unprotect_rtcp(protected) == REPORT


# ---------------------------------------------------------------------- libsrtp as the other end


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_random_packets_agree_with_libsrtp(profile: SrtpProfile, plain: bool) -> None:
    chance = random.Random(7)
    master = master_key(profile, 1)
    ours, theirs_out = (
        Native.from_master(profile, master, plain),
        srtp_session(profile, master, ANY_OUT),
    )
    theirs_in = srtp_session(profile, master, ANY_IN)
    for index in itertools.chain(range(1, 400), [600, 1000, 1300]):
        csrcs = chance.randrange(4)
        head = struct.pack(
            "!BBHII", 0x80 | csrcs, chance.randrange(128), index, chance.getrandbits(32), 77
        ) + chance.randbytes(4 * csrcs)
        if chance.random() < 0.5:
            words = chance.randrange(5)
            head = bytes([head[0] | 0x10]) + head[1:]
            head += struct.pack("!HH", 0xBEDE, words) + chance.randbytes(4 * words)
        packet = head + chance.randbytes(index if index > 500 else chance.randrange(300))
        protected = theirs_out.protect(packet)
        assert ours.protect(packet, index) == protected
        assert ours.unprotect(protected) == packet
        assert theirs_in.unprotect(protected) == packet


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_random_reports_agree_with_libsrtp(profile: SrtpProfile, plain: bool) -> None:
    chance = random.Random(8)
    master = master_key(profile, 2)
    ours = Native.from_master(profile, master, plain)
    theirs_out, theirs_in = (srtp_session(profile, master, way) for way in (ANY_OUT, ANY_IN))
    for index in range(1, 200):
        words = chance.randrange(1, 60)
        packet = struct.pack("!BBHI", 0x80, 201, words, 9) + chance.randbytes(4 * words - 4)
        assert ours.unprotect_rtcp(theirs_out.protect_rtcp(packet)) == packet
        assert theirs_in.unprotect_rtcp(ours.protect_rtcp(packet, index)) == packet


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_every_length_of_payload(profile: SrtpProfile, plain: bool) -> None:
    master = master_key(profile, 3)
    ours, theirs = (
        Native.from_master(profile, master, plain),
        srtp_session(profile, master, ANY_IN),
    )
    for length in range(280):
        packet = rtp(length + 1, bytes(i & 0xFF for i in range(length)))
        assert theirs.unprotect(ours.protect(packet, length + 1)) == packet


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_the_sequence_number_rolls_over(profile: SrtpProfile, plain: bool) -> None:
    master = master_key(profile, 4)
    ours = Native.from_master(profile, master, plain)
    theirs_out, theirs_in = (srtp_session(profile, master, way) for way in (ANY_OUT, ANY_IN))
    # Steps that libsrtp follows, over two cycles of the sequence number.
    for index in range(30_000, 3 * 65_536, 1_021):
        packet = rtp(index, b"%d" % index)
        assert theirs_in.unprotect(ours.protect(packet, index)) == packet
        assert ours.unprotect(theirs_out.protect(packet)) == packet


def test_packets_out_of_order_around_the_roll_over(plain: bool) -> None:
    profile = SrtpProfile.AEAD_AES_256_GCM
    sender = Native.from_master(profile, master_key(profile, 5), plain)
    receiver = Native.from_master(profile, master_key(profile, 5), plain)
    indices = list(range(65_500, 65_600))
    random.Random(1).shuffle(indices)
    indices = [65_499, *indices]
    for index in indices:
        packet = rtp(index, b"%d" % index)
        assert receiver.unprotect(sender.protect(packet, index)) == packet
    for index in indices:
        with pytest.raises(SrtpError) as error:
            receiver.unprotect(sender.protect(rtp(index, b"%d" % index), index))
        assert error.value.code == REPLAY


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_a_changed_bit_anywhere_is_noticed(profile: SrtpProfile, plain: bool) -> None:
    srtp = Native.from_master(profile, master_key(profile, 6), plain)
    protected = srtp.protect(rtp(5, b"some sound"), 5)
    report = srtp.protect_rtcp(struct.pack("!BBHII", 0x81, 201, 2, 1, 2), 1)
    for at in range(8 * len(protected)):
        changed = bytearray(protected)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(SrtpError) as error:
            srtp.unprotect(bytes(changed))
        assert error.value.code in (MALFORMED, AUTH)
    for at in range(8 * len(report)):
        changed = bytearray(report)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(SrtpError) as error:
            srtp.unprotect_rtcp(bytes(changed))
        assert error.value.code in (MALFORMED, AUTH)
    assert srtp.unprotect(protected) == rtp(5, b"some sound")
    assert len(srtp.unprotect_rtcp(report)) == 12


def test_the_replay_window(plain: bool) -> None:
    profile = SrtpProfile.AES128_CM_HMAC_SHA1_80
    srtp = Native.from_master(profile, master_key(profile, 9), plain)

    def receive(index: int) -> None:
        srtp.unprotect(srtp.protect(rtp(index, b"x"), index))

    receive(1000)
    for late in (999, 937, 936, 935, 873):
        receive(late)
    for again in (1000, 999, 937, 936, 935, 873, 872, 5):
        with pytest.raises(SrtpError) as error:
            receive(again)
        assert error.value.code == REPLAY
    receive(1063)
    receive(1127)
    with pytest.raises(SrtpError):
        receive(999)
    receive(5000)
    for index in (4999, 4873):
        receive(index)
    with pytest.raises(SrtpError):
        receive(4872)


def test_a_report_is_taken_once(plain: bool) -> None:
    profile = SrtpProfile.AEAD_AES_128_GCM
    srtp = Native.from_master(profile, master_key(profile, 10), plain)
    report = struct.pack("!BBHI", 0x80, 201, 1, 1)
    for index in (3, 1, 2):
        srtp.unprotect_rtcp(srtp.protect_rtcp(report, index))
    with pytest.raises(SrtpError) as error:
        srtp.unprotect_rtcp(srtp.protect_rtcp(report, 2))
    assert error.value.code == REPLAY


def test_lengths_that_lie_are_malformed(plain: bool) -> None:
    profile = SrtpProfile.AEAD_AES_128_GCM
    srtp = Native.from_master(profile, master_key(profile, 11), plain)
    for packet in (b"", b"\x80" * 11, rtp(1, b"")[:11], b"\x40" + bytes(40), b"\x8f" + bytes(40)):
        with pytest.raises(SrtpError) as error:
            srtp.protect(packet, 1)
        assert error.value.code == MALFORMED
    extended = b"\x90" + rtp(1, struct.pack("!HH", 0xBEDE, 9) + bytes(8))[1:]
    for call in (lambda: srtp.protect(extended, 1), lambda: srtp.unprotect(extended + bytes(16))):
        with pytest.raises(SrtpError) as error:
            call()
        assert error.value.code == MALFORMED
    for length in range(40):
        with pytest.raises(SrtpError):
            srtp.unprotect(b"\x80" * length)
        with pytest.raises(SrtpError):
            srtp.unprotect_rtcp(b"\x80" * length)
    with pytest.raises(SrtpError):
        srtp.protect(rtp(1, bytes(4000)), 1)


def test_a_peer_may_have_sixteen_sources(plain: bool) -> None:
    profile = SrtpProfile.AEAD_AES_128_GCM
    srtp = Native.from_master(profile, master_key(profile, 12), plain)
    for ssrc in range(16):
        srtp.unprotect(srtp.protect(rtp(1, b"x", ssrc=ssrc), 1))
    with pytest.raises(SrtpError) as error:
        srtp.unprotect(srtp.protect(rtp(1, b"x", ssrc=99), 1))
    assert error.value.code == TOO_MANY
    srtp.unprotect(srtp.protect(rtp(2, b"x", ssrc=3), 2))


def test_keys_of_the_wrong_length_are_refused() -> None:
    assert lib.srtp_new(0, bytes(43), 43, 0) == ffi.NULL
    assert lib.srtp_new(9, bytes(44), 44, 0) == ffi.NULL
