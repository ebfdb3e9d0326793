"""What an MP3 holds, by its own frames."""

# kbit/s by the number in a frame's header, for MPEG 1 and for 2 and 2.5
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES = (44100, 48000, 32000)  # of MPEG 1; half of it in 2, a quarter in 2.5


class Mp3:
    """The frames of an MPEG layer III file, counted.

    Without a Xing frame libsndfile takes the length from the file's size and the bit rate of its
    first frames: with a variable rate it gives a part of the clip, without a word.

    Attributes:
        count: how many frames follow upon each other.
        samples: of each.
        torn: whether the last one ends behind the file.
        announced: how many a Xing frame announces; 0 without one.
        measured: whether that is enough.
        data: the frames, without tags and the Xing frame.
    """

    def __init__(self, data: bytes):
        start = 0
        if data[:3] == b"ID3":
            for byte in data[6:10]:
                start = start << 7 | byte
            start += 10
        # padding
        start = len(data) - len(data[start:].lstrip(b"\0"))
        first, self.samples = _mpeg_frame(data[start : start + 4])
        end, self.count = start, 0
        while size := _mpeg_frame(data[end : end + 4])[0]:
            end += size
            self.count += 1
        self.torn = end > len(data)
        frame = data[start : start + first]
        tag = max(frame.find(b"Xing"), frame.find(b"Info"))
        self.announced = 0
        if tag >= 0 and frame[tag + 7] & 1:
            self.announced = int.from_bytes(frame[tag + 8 : tag + 12], "big")
            start += first
        self.measured = self.announced >= self.count - 1
        self.data = data[start:]


def _mpeg_frame(header: bytes) -> tuple[int, int]:
    """Bytes and samples of the layer III frame with these first 4 bytes; 0 and 0 if it is none."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    number, rate = bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer != 1 or number in (0, 15) or rate == 3:
        return 0, 0
    hertz = _MPEG_RATES[rate]
    if version == 3:  # MPEG 1; 2 is MPEG 2, 0 its half
        kbits, samples = _KBITS_1[number], 1152
    else:
        kbits, samples = _KBITS_2[number], 576
        hertz //= 2 if version == 2 else 4
    padding = bits >> 9 & 1
    return samples // 8 * kbits * 1000 // hertz + padding, samples
