//! Compression: what a head of bytes is, and streams that inflate on the fly.
//!
//! The gzip framing is read here, not by `flate2::read::MultiGzDecoder`, for two reasons: on a corrupt block that
//! one throws away what it had inflated into the caller's buffer (up to the whole buffer, which the reader could
//! still have salvaged), and it cannot say where in the compressed bytes it stood. The inflating itself is
//! flate2's `Decompress` on zlib-rs, straight into the caller's buffer.

use std::io::{self, BufRead, BufReader, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Content, StreamError};

/// Buffer between two layers of streams, and the scratch of whoever drains one. Below 256 KiB zlib-rs loses speed.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Enough of a file to tell every form in [`Form`] (a tar header is one block of 512 bytes).
pub(super) const SNIFF_BYTES: usize = 512;

/// A compression whose stream hides another document or archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zstd,
}

impl Codec {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What a run of bytes is, by its first bytes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Coded(Codec),
    Tar,
    Zip,
    Plain,
}

/// Tells the form from the first [`SNIFF_BYTES`] bytes.
pub(super) fn sniff(head: &[u8]) -> Form {
    if head.starts_with(&[0x1f, 0x8b]) {
        Form::Coded(Codec::Gzip)
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Form::Coded(Codec::Zstd)
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        // The second is the end record, with which an archive without entries begins.
        Form::Zip
    } else if is_tar(head) {
        Form::Tar
    } else {
        Form::Plain
    }
}

fn is_tar(head: &[u8]) -> bool {
    // The byte after "ustar" is NUL (POSIX) or a space (GNU). Text could hold the word there, so text must also
    // have the checksum; a NUL does not occur in text, so a damaged first header is still taken for a tar.
    match head.get(257..263) {
        Some(b"ustar\0") => true,
        // A pax header may have no name, but then it has the magic above.
        _ => head.get(..512).is_some_and(|block| block[0] != 0 && tar_checksum_is_right(block)),
    }
}

/// Old v7 archives have no magic; the checksum over the header is what tells them.
pub(super) fn tar_checksum_is_right(block: &[u8]) -> bool {
    let (Some(field), true) = (block.get(148..156), block.len() == 512) else {
        return false;
    };
    let digits: Vec<u8> =
        field.iter().copied().skip_while(|b| *b == b' ').take_while(|b| (b'0'..=b'7').contains(b)).collect();
    let Some(stored) = std::str::from_utf8(&digits).ok().and_then(|s| i64::from_str_radix(s, 8).ok()) else {
        return false;
    };
    // Some old writers summed signed bytes. The field itself counts as spaces.
    let outside = block[..148].iter().chain(&block[156..]);
    let (unsigned, signed) = outside.fold((256, 256), |(u, s), b| (u + i64::from(*b), s + i64::from(*b as i8)));
    stored == unsigned || stored == signed
}

/// Puts the decoder of `codec` on top of `content`; it gives at most `max_bytes`, then fails with
/// [`StreamError::Limit`].
pub(super) fn decode(content: Content<'_>, codec: Codec, max_bytes: u64) -> Content<'_> {
    fn over<'a>(src: impl BufRead + Send + 'a, codec: Codec, max_bytes: u64) -> Content<'a> {
        match codec {
            Codec::Gzip => Content::Stream(Box::new(Limited::new(Gzip::new(src), max_bytes))),
            Codec::Zstd => Content::Stream(Box::new(Limited::new(Zstd::new(src), max_bytes))),
        }
    }
    match content {
        Content::Slice(bytes) => over(bytes, codec, max_bytes),
        Content::Stream(stream) => over(BufReader::with_capacity(BUFFER_BYTES, stream), codec, max_bytes),
    }
}

/// Reads until `buf` is full, the end, or an error; returns how much is in `buf` and the error.
///
/// `Read::read_exact` would forget how much came before the error, and that is what can be salvaged.
pub(super) fn read_up_to(stream: &mut (impl Read + ?Sized), buf: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while filled < buf.len() {
        match stream.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (filled, Err(e)),
        }
    }
    (filled, Ok(()))
}

/// Bytes read at once by [`read_more`].
const MORE_BYTES: usize = 1 << 20;

/// Appends up to a megabyte of `stream` to `buffer`; true at the end of the stream.
///
/// # Errors
///
/// Those of the stream; what came before is in the buffer.
pub fn read_more(stream: &mut (impl Read + ?Sized), buffer: &mut Vec<u8>) -> io::Result<bool> {
    let from = buffer.len();
    buffer.resize(from + MORE_BYTES, 0);
    let (n, end) = read_up_to(stream, &mut buffer[from..]);
    buffer.truncate(from + n);
    end.map(|()| n < MORE_BYTES)
}

/// Fails once more than `max_bytes` would be given: the guard against bombs. Exactly `max_bytes` are fine.
pub(super) struct Limited<R> {
    inner: R,
    left: u64,
    max_bytes: u64,
}

impl<R: Read> Limited<R> {
    pub(super) fn new(inner: R, max_bytes: u64) -> Self {
        Self { inner, left: max_bytes, max_bytes }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // The limit is only passed if one more byte is there. It is thrown away, but each further read looks
            // at one more, so the error stays.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(StreamError::Limit { max_bytes: self.max_bytes }.into()),
            };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(&mut buf[..room])?;
        self.left -= n as u64;
        Ok(n)
    }
}

/// Counts what is taken from a buffered source, for the offsets in messages.
struct Counted<R> {
    inner: R,
    at: u64,
}

impl<R: BufRead> Counted<R> {
    fn byte(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.inner.fill_buf() {
                Ok(bytes) => {
                    let first = bytes.first().copied();
                    if first.is_some() {
                        self.consume(1);
                    }
                    return Ok(first);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.at += amount as u64;
    }
}

/// Raw deflate with the checksum and the counts of what came out.
pub(super) struct Inflater {
    inflate: Decompress,
    crc: Crc,
    /// Bytes inflated since the last [`Inflater::reset`].
    pub(super) out: u64,
}

/// One step of an [`Inflater`].
pub(super) struct Step {
    pub(super) produced: usize,
    pub(super) state: StepState,
}

/// How the deflate stream stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepState {
    More,
    Ended,
    /// The source is at its end, the stream is not.
    Starved,
    Corrupt,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(false), crc: Crc::new(), out: 0 }
    }

    pub(super) fn crc(&self) -> u32 {
        self.crc.sum()
    }

    fn reset(&mut self) {
        self.inflate.reset(false);
        self.crc.reset();
        self.out = 0;
    }

    /// Inflates some of `src` into `buf`, which must not be empty. Errors are those of `src` only.
    pub(super) fn step(&mut self, src: &mut impl BufRead, buf: &mut [u8]) -> io::Result<Step> {
        loop {
            let input = match src.fill_buf() {
                Ok(input) => input,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let starved = input.is_empty();
            let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, buf, FlushDecompress::None);
            let consumed = (self.inflate.total_in() - in_before) as usize;
            // On a corrupt block the counts still say how much is whole before it.
            let produced = (self.inflate.total_out() - out_before) as usize;
            src.consume(consumed);
            self.crc.update(&buf[..produced]);
            self.out += produced as u64;
            let state = match status {
                Err(_) => StepState::Corrupt,
                Ok(Status::StreamEnd) => StepState::Ended,
                Ok(_) if produced > 0 => StepState::More,
                Ok(_) if starved => StepState::Starved,
                // Neither in nor out with bytes on both sides does not happen; it must not become an endless loop.
                Ok(_) if consumed == 0 => StepState::Corrupt,
                Ok(_) => continue,
            };
            return Ok(Step { produced, state });
        }
    }
}

enum GzipState {
    /// Before a member's header; `true` for the first.
    Header(bool),
    Body,
    Trailer,
    Done,
    Failed(StreamError),
}

/// All members of a gzip file, one after the other.
struct Gzip<R> {
    src: Counted<R>,
    inflater: Inflater,
    state: GzipState,
    /// Inflated bytes of all members.
    out: u64,
}

impl<R: BufRead> Gzip<R> {
    fn new(src: R) -> Self {
        Self { src: Counted { inner: src, at: 0 }, inflater: Inflater::new(), state: GzipState::Header(true), out: 0 }
    }

    fn truncated(&self) -> StreamError {
        StreamError::Truncated { codec: Codec::Gzip.name(), stored_at: self.src.at, inflated_at: self.out }
    }

    fn corrupt(&self, what: &'static str) -> StreamError {
        StreamError::Corrupt { codec: Codec::Gzip.name(), what, stored_at: self.src.at, inflated_at: self.out }
    }

    /// Reads one byte that must be there.
    fn need(&mut self) -> io::Result<Result<u8, StreamError>> {
        Ok(self.src.byte()?.ok_or_else(|| self.truncated()))
    }

    /// Reads a member's header (RFC 1952, 2.3) and returns the state after it.
    fn header(&mut self, first: bool) -> io::Result<GzipState> {
        let start = self.src.at;
        let trailing = |at| GzipState::Failed(StreamError::Trailing { codec: Codec::Gzip.name(), stored_at: at });
        let mut fixed = [0_u8; 10];
        for (i, slot) in fixed.iter_mut().enumerate() {
            match self.src.byte()? {
                Some(byte) => *slot = byte,
                None if i == 0 && !first => return Ok(GzipState::Done),
                None if i < 2 && !first => return Ok(trailing(start)),
                None => return Ok(GzipState::Failed(self.truncated())),
            }
            if i == 0 && *slot == 0 && !first {
                // Tapes and block devices pad with zeros; gzip(1) is silent about it too.
                loop {
                    match self.src.byte()? {
                        Some(0) => {}
                        Some(_) => return Ok(trailing(start)),
                        None => return Ok(GzipState::Done),
                    }
                }
            }
            if (i == 0 && *slot != 0x1f) || (i == 1 && *slot != 0x8b) {
                return Ok(if first { GzipState::Failed(self.corrupt("no gzip header")) } else { trailing(start) });
            }
        }
        if fixed[2] != 8 {
            return Ok(GzipState::Failed(self.corrupt("an unknown compression method")));
        }
        let flags = fixed[3];
        let mut skip = 0_usize;
        if flags & 0x04 != 0 {
            for shift in [0, 8] {
                match self.need()? {
                    Ok(byte) => skip |= usize::from(byte) << shift,
                    Err(e) => return Ok(GzipState::Failed(e)),
                }
            }
        }
        for _ in 0..skip {
            if let Err(e) = self.need()? {
                return Ok(GzipState::Failed(e));
            }
        }
        // File name and comment, each up to a NUL.
        for flag in [0x08, 0x10] {
            if flags & flag == 0 {
                continue;
            }
            loop {
                match self.need()? {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(e) => return Ok(GzipState::Failed(e)),
                }
            }
        }
        if flags & 0x02 != 0 {
            // The checksum of the header; a wrong one would not make the content wrong.
            for _ in 0..2 {
                if let Err(e) = self.need()? {
                    return Ok(GzipState::Failed(e));
                }
            }
        }
        self.inflater.reset();
        Ok(GzipState::Body)
    }

    fn trailer(&mut self) -> io::Result<GzipState> {
        let mut words = [0_u32; 2];
        for word in &mut words {
            for shift in [0, 8, 16, 24] {
                match self.need()? {
                    Ok(byte) => *word |= u32::from(byte) << shift,
                    Err(e) => return Ok(GzipState::Failed(e)),
                }
            }
        }
        // The length field is modulo 2^32.
        let whole = words[0] == self.inflater.crc() && words[1] == self.inflater.out as u32;
        Ok(if whole {
            GzipState::Header(false)
        } else {
            GzipState::Failed(StreamError::Checksum {
                codec: Codec::Gzip.name(),
                stored_at: self.src.at,
                inflated_at: self.out,
            })
        })
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match &self.state {
                GzipState::Header(first) => {
                    let first = *first;
                    self.header(first)?
                }
                GzipState::Body => {
                    let step = self.inflater.step(&mut self.src, buf)?;
                    self.out += step.produced as u64;
                    let next = match step.state {
                        StepState::More => GzipState::Body,
                        StepState::Ended => GzipState::Trailer,
                        StepState::Starved => GzipState::Failed(self.truncated()),
                        StepState::Corrupt => GzipState::Failed(self.corrupt("invalid compressed data")),
                    };
                    if step.produced > 0 {
                        // What is whole goes out first, the error with the next read.
                        self.state = next;
                        return Ok(step.produced);
                    }
                    next
                }
                GzipState::Trailer => self.trailer()?,
                GzipState::Done => return Ok(0),
                GzipState::Failed(e) => return Err(e.clone().into()),
            };
        }
    }
}

enum ZstdState {
    /// Before a frame; `true` for the first.
    Frame(bool),
    Body,
    Done,
    Failed(StreamError),
}

/// All frames of a zstd file. Of a frame that breaks off, up to its window of bytes stays in the decoder and is lost:
/// ruzstd gives no access to it.
struct Zstd<R> {
    src: Counted<R>,
    decoder: Box<FrameDecoder>,
    state: ZstdState,
    out: u64,
}

impl<R: BufRead> Zstd<R> {
    fn new(src: R) -> Self {
        Self {
            src: Counted { inner: src, at: 0 },
            decoder: Box::new(FrameDecoder::new()),
            state: ZstdState::Frame(true),
            out: 0,
        }
    }

    /// The decoder wraps errors of the source; an exhausted source tells truncation from corruption.
    fn failed(&mut self, what: &'static str) -> io::Result<ZstdState> {
        let codec = Codec::Zstd.name();
        let (stored_at, inflated_at) = (self.src.at, self.out);
        // An error of the source itself (a layer below broke) is the better message, and it is sticky.
        Ok(ZstdState::Failed(if self.src.fill_buf()?.is_empty() {
            StreamError::Truncated { codec, stored_at, inflated_at }
        } else {
            StreamError::Corrupt { codec, what, stored_at, inflated_at }
        }))
    }

    fn frame(&mut self, first: bool) -> io::Result<ZstdState> {
        let start = self.src.at;
        if !first && self.src.fill_buf()?.is_empty() {
            return Ok(ZstdState::Done);
        }
        match self.decoder.reset(&mut self.src) {
            Ok(()) => Ok(ZstdState::Body),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut (&mut self.src).take(length), &mut io::sink())?;
                if skipped < length { self.failed("a skippable frame") } else { Ok(ZstdState::Frame(false)) }
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_))) if !first => {
                Ok(ZstdState::Failed(StreamError::Trailing { codec: Codec::Zstd.name(), stored_at: start }))
            }
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => Ok(ZstdState::Failed(StreamError::Corrupt {
                codec: Codec::Zstd.name(),
                what: "a window larger than 128 MiB",
                stored_at: self.src.at,
                inflated_at: self.out,
            })),
            Err(_) => self.failed("an invalid frame header"),
        }
    }

    fn body(&mut self, buf: &mut [u8]) -> io::Result<(usize, ZstdState)> {
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            let step = self.decoder.decode_blocks(&mut self.src, BlockDecodingStrategy::UptoBytes(BUFFER_BYTES));
            if step.is_err() {
                return Ok((0, self.failed("invalid compressed data")?));
            }
        }
        let n = self.decoder.read(buf)?;
        self.out += n as u64;
        if n > 0 || !self.decoder.is_finished() {
            return Ok((n, ZstdState::Body));
        }
        let stored = self.decoder.get_checksum_from_data();
        let state = if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
            ZstdState::Failed(StreamError::Checksum {
                codec: Codec::Zstd.name(),
                stored_at: self.src.at,
                inflated_at: self.out,
            })
        } else {
            ZstdState::Frame(false)
        };
        Ok((0, state))
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match &self.state {
                ZstdState::Frame(first) => {
                    let first = *first;
                    self.frame(first)?
                }
                ZstdState::Body => {
                    let (n, next) = self.body(buf)?;
                    if n > 0 {
                        return Ok(n);
                    }
                    next
                }
                ZstdState::Done => return Ok(0),
                ZstdState::Failed(e) => return Err(e.clone().into()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn drain(content: Content<'_>) -> (Vec<u8>, Option<StreamError>) {
        let Content::Stream(mut stream) = content else { panic!("a stream was expected") };
        let mut out = Vec::new();
        let error = stream.read_to_end(&mut out).err();
        (out, error.map(|e| StreamError::of(&e).expect("a stream error").clone()))
    }

    fn text(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (state >> 27) as u8
            })
            .collect()
    }

    #[test]
    fn corrupt_blocks_keep_what_was_whole() {
        let plain = text(1 << 20);
        let mut packed = gzip(&plain);
        let middle = packed.len() / 2;
        packed[middle..middle + 64].fill(0xff);
        let (out, error) = drain(decode(Content::Slice(&packed), Codec::Gzip, u64::MAX));
        let whole = out.iter().zip(&plain).take_while(|(a, b)| a == b).count();
        assert!(whole > plain.len() * 4 / 10, "{whole} of {} bytes salvaged", plain.len());
        assert!(matches!(error, Some(StreamError::Corrupt { .. } | StreamError::Checksum { .. })), "{error:?}");
    }

    #[test]
    fn every_truncation_gives_a_prefix_and_says_truncated() {
        let plain = text(3000);
        let packed = gzip(&plain);
        for cut in 2..packed.len() {
            let (out, error) = drain(decode(Content::Slice(&packed[..cut]), Codec::Gzip, u64::MAX));
            assert!(plain.starts_with(&out));
            assert!(matches!(error, Some(StreamError::Truncated { .. })), "cut {cut}: {error:?}");
        }
    }

    #[test]
    fn optional_header_fields_are_skipped() {
        let mut packed = Vec::new();
        flate2::GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![1, 2, 3])
            .write(&mut packed, flate2::Compression::fast())
            .write_all(b"content")
            .unwrap();
        let (out, error) = drain(decode(Content::Slice(&packed), Codec::Gzip, u64::MAX));
        assert_eq!((out.as_slice(), error), (&b"content"[..], None));
    }

    #[test]
    fn zero_padding_is_silent_and_garbage_is_said() {
        let mut packed = gzip(b"content");
        packed.extend([0; 700]);
        let (out, error) = drain(decode(Content::Slice(&packed), Codec::Gzip, u64::MAX));
        assert_eq!((out.as_slice(), error), (&b"content"[..], None));
        packed.extend(b"x");
        let (out, error) = drain(decode(Content::Slice(&packed), Codec::Gzip, u64::MAX));
        assert_eq!(out, b"content");
        assert!(matches!(error, Some(StreamError::Trailing { .. })), "{error:?}");
    }

    #[test]
    fn the_limit_is_exact() {
        let packed = gzip(&[7; 1000]);
        assert_eq!(drain(decode(Content::Slice(&packed), Codec::Gzip, 1000)).1, None);
        let (out, error) = drain(decode(Content::Slice(&packed), Codec::Gzip, 999));
        assert_eq!((out.len(), error), (999, Some(StreamError::Limit { max_bytes: 999 })));
    }

    #[test]
    fn zstd_frames_follow_each_other() {
        let plain = text(300_000);
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let mut packed = ruzstd::encoding::compress_to_vec(&plain[..], level);
        packed.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        packed.extend(ruzstd::encoding::compress_to_vec(&b"tail"[..], ruzstd::encoding::CompressionLevel::Fastest));
        let (out, error) = drain(decode(Content::Slice(&packed), Codec::Zstd, u64::MAX));
        assert_eq!(error, None);
        assert!(out == [&plain[..], b"tail"].concat());
        for cut in (4..packed.len()).step_by(997) {
            let (out, error) = drain(decode(Content::Slice(&packed[..cut]), Codec::Zstd, u64::MAX));
            assert!(plain.starts_with(&out), "cut {cut}");
            assert!(error.is_some(), "cut {cut}");
        }
    }

    #[test]
    fn text_with_the_word_ustar_is_not_a_tar() {
        let mut json = vec![b' '; 600];
        json[257..263].copy_from_slice(b"ustar ");
        assert_eq!(sniff(&json), Form::Plain);
        assert_eq!(sniff(b""), Form::Plain);
        assert_eq!(sniff(&[0; 1024]), Form::Plain);
    }
}
