//! Names, addresses and secrets become others of the same length, by a key: the same ones always the same, different ones
//! always different.
//!
//! A word is a run of letters and digits. Its pseudonym is a permutation of all words of the same make (where it has
//! capitals, small letters, digits): a Feistel network whose rounds are SHA-256 with the key, so it can only be turned
//! around by who has the key, and needs no table. Punctuation stays, and so do the words of `words.txt`, whereby
//! `outbound|80||web.shop.svc.cluster.local` keeps its form.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use foldhash::{HashMap, HashMapExt, HashSet};
use sha2::{Digest, Sha256};

/// Rounds of the Feistel network; ten is what NIST SP 800-38G asks of FF1.
const ROUNDS: u8 = 10;
/// Pseudonyms remembered; beyond it they are made anew each time.
const CACHED: usize = 1 << 20;
/// Digits in a row that a port or a small count has: they stay.
const SHORT_DIGITS: usize = 5;

/// What was replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Names replaced, each time one occurs.
    pub(crate) words: u64,
    /// Addresses replaced.
    pub(crate) addresses: u64,
}

/// The pseudonyms of one run.
pub(crate) struct Pseudonyms {
    key: [u8; 32],
    cache: HashMap<Box<[u8]>, Box<[u8]>>,
    /// Pseudonym to original, when it is asked for.
    map: Option<BTreeMap<String, String>>,
    /// Further words that stay in the document at hand.
    pub(crate) vocabulary: Option<&'static Vocabulary>,
    pub(crate) tally: Tally,
}

impl Pseudonyms {
    /// With the key of the run; `map` asks for the table that leads back.
    pub(crate) fn new(key: [u8; 32], map: bool) -> Self {
        Self { key, cache: HashMap::new(), map: map.then(BTreeMap::new), vocabulary: None, tally: Tally::default() }
    }

    /// Pseudonym to original, of names and addresses; empty unless it was asked for.
    pub(crate) fn into_map(self) -> BTreeMap<String, String> {
        self.map.unwrap_or_default()
    }

    /// Random bytes by the key, for one purpose and text.
    fn stream(&self, purpose: u8, text: &[u8], want: usize) -> Vec<u8> {
        let seed = Sha256::new().chain_update(self.key).chain_update([purpose]).chain_update(text).finalize();
        let mut out = Vec::with_capacity(want + 32);
        let mut n = 0_u64;
        while out.len() < want {
            out.extend_from_slice(&Sha256::new().chain_update(seed).chain_update(n.to_le_bytes()).finalize());
            n += 1;
        }
        out
    }

    /// Permutes digits of mixed radix.
    fn permute(&self, purpose: u8, radices: &[u16], digits: &mut [u16]) {
        let half = digits.len() / 2;
        for round in 0..ROUNDS {
            let (left, right) = digits.split_at_mut(half);
            let (radix_left, radix_right) = radices.split_at(half);
            let (from, to, radix) =
                if round % 2 == 0 { (&*right, left, radix_left) } else { (&*left, right, radix_right) };
            let mut text = vec![round, radices.len() as u8];
            text.extend(radices.iter().chain(from).flat_map(|d| d.to_le_bytes()));
            let random = self.stream(purpose, &text, to.len() * 4);
            for (i, digit) in to.iter_mut().enumerate() {
                let r = u32::from_le_bytes([random[i * 4], random[i * 4 + 1], random[i * 4 + 2], random[i * 4 + 3]]);
                *digit = ((u32::from(*digit) + r % u32::from(radix[i])) % u32::from(radix[i])) as u16;
            }
        }
    }

    /// The pseudonym of `word`, by a function that makes it, remembered.
    fn cached(&mut self, word: &mut [u8], make: impl FnOnce(&Self, &mut [u8])) {
        if let Some(known) = self.cache.get(&*word) {
            word.copy_from_slice(known);
            return;
        }
        let original: Box<[u8]> = (&*word).into();
        make(self, word);
        if let Some(map) = &mut self.map {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            map.insert(text(word), text(&original));
        }
        if self.cache.len() < CACHED {
            self.cache.insert(original, (&*word).into());
        }
    }

    /// Replaces the names and addresses in `text`. `regex` says that it is a regular expression: its classes and
    /// escapes stay.
    pub(crate) fn names(&mut self, text: &mut [u8], regex: bool) {
        let mut i = 0;
        while i < text.len() {
            let b = text[i];
            if regex && b == b'\\' {
                i += 2;
            } else if regex && b == b'[' {
                i += text[i..].iter().position(|b| *b == b']').map_or(1, |n| n + 1);
            } else if !is_word(b) {
                i += 1;
                if b == b'['
                    && let Some(len) = ipv6(&text[i..]).filter(|n| text.get(i + n) == Some(&b']'))
                {
                    self.ipv6(&mut text[i..i + len]);
                    i += len;
                }
            } else {
                // behind a dot only in the name of a stat, `listener.10.1.2.3_80`: versions have digits before it
                let of_stat = i > 1 && text[i - 1] == b'.' && text[i - 2].is_ascii_alphabetic();
                let starts = i == 0 || of_stat || !(is_word(text[i - 1]) || text[i - 1] == b'.');
                if let Some(len) = timestamp(&text[i..]).filter(|_| starts) {
                    i += len;
                } else if let Some(len) = ipv4(&text[i..]).filter(|_| starts) {
                    self.ipv4(&mut text[i..i + len]);
                    i += len;
                } else if let Some(len) = ipv6(&text[i..]).filter(|_| starts && (i == 0 || text[i - 1] != b':')) {
                    self.ipv6(&mut text[i..i + len]);
                    i += len;
                } else {
                    let len = text[i..].iter().position(|b| !is_word(*b)).unwrap_or(text.len() - i);
                    self.word(&mut text[i..i + len]);
                    i += len;
                }
            }
        }
    }

    fn word(&mut self, word: &mut [u8]) {
        if stays(word) || self.vocabulary.is_some_and(|v| v.holds(word)) {
            return;
        }
        self.tally.words += 1;
        if let Some(digits) = word.strip_prefix(b"0x").filter(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            if digits.len() > 4 {
                self.hex(&mut word[2..]);
            }
            return;
        }
        self.cached(word, |p, word| p.letters(1, word));
    }

    /// Permutes hexadecimal digits.
    pub(crate) fn hex(&mut self, text: &mut [u8]) {
        let mut digits: Vec<u16> = text.iter().map(|b| char::from(*b).to_digit(16).map_or(0, |d| d as u16)).collect();
        self.permute(7, &vec![16; digits.len()], &mut digits);
        for (b, d) in text.iter_mut().zip(digits) {
            *b = char::from_digit(u32::from(d), 16).map_or(*b, |c| c as u8);
        }
    }

    /// Permutes letters and digits among those of their kind.
    fn letters(&self, purpose: u8, word: &mut [u8]) {
        let Ok(text) = std::str::from_utf8(word) else {
            // not text: bytes above ASCII among themselves
            let random = self.stream(purpose, word, word.len());
            word.iter_mut().zip(random).filter(|(b, _)| **b >= 0x80).for_each(|(b, r)| *b = 0x80 | (r & 0x3f));
            return;
        };
        let kinds: Vec<(u32, u16)> = text.chars().map(alphabet).collect();
        let radices: Vec<u16> = kinds.iter().map(|k| k.1).collect();
        let mut digits: Vec<u16> = text
            .chars()
            .zip(&kinds)
            .map(|(c, (first, radix))| (u32::from(c).wrapping_sub(*first) % u32::from(*radix)) as u16)
            .collect();
        self.permute(purpose, &radices, &mut digits);
        let out: String = digits
            .iter()
            .zip(&kinds)
            .zip(text.chars())
            .map(
                |((d, (first, radix)), c)| {
                    if *radix == 1 { c } else { char::from_u32(first + u32::from(*d)).unwrap_or(c) }
                },
            )
            .collect();
        if out.len() == word.len() {
            word.copy_from_slice(out.as_bytes());
        }
    }

    /// Family, class and number of digits stay: the first octet always, the first two of 172.16/12, 192.168/16,
    /// 100.64/10; loopback, link-local, unspecified, multicast and broadcast addresses altogether.
    fn ipv4(&mut self, text: &mut [u8]) {
        let octets: Vec<u16> =
            text.split(|b| *b == b'.').map(|o| o.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'))).collect();
        let keep = match (octets[0], octets[1]) {
            (0 | 127 | 224..=255, _) | (169, 254) => return,
            (172, 16..=31) | (192, 168) | (100, 64..=127) => 2,
            _ => 1,
        };
        self.tally.addresses += 1;
        self.cached(text, |p, text| {
            let base = |n: u16| match n {
                0 => (0, 1),
                1..=9 => (1, 9),
                10..=99 => (10, 90),
                _ => (100, 156),
            };
            let radices: Vec<u16> = octets[keep..].iter().map(|n| base(*n).1).collect();
            let mut digits: Vec<u16> = octets[keep..].iter().map(|n| n - base(*n).0).collect();
            // the kept part is part of the purpose: networks are shuffled each on their own
            p.permute(2, &radices, &mut digits);
            let mut out = octets.clone();
            for (o, d) in out[keep..].iter_mut().zip(digits) {
                *o = base(*o).0 + d;
            }
            let out: Vec<String> = out.iter().map(u16::to_string).collect();
            let out = out.join(".");
            if out.len() == text.len() {
                text.copy_from_slice(out.as_bytes());
            }
        });
    }

    /// Groups stay as long as they are; the first of unique-local, link-local and multicast addresses stays, loopback
    /// and unspecified altogether.
    fn ipv6(&mut self, text: &mut [u8]) {
        let first = text.split(|b| *b == b':').next().unwrap_or(b"").to_ascii_lowercase();
        let keep = [&b"fc"[..], b"fd", b"fe8", b"ff"].iter().any(|p| first.starts_with(p));
        let from = if keep { first.len() } else { 0 };
        if !text.iter().any(|b| b.is_ascii_hexdigit() && !matches!(b, b'0' | b'1')) {
            return;
        }
        self.tally.addresses += 1;
        self.cached(text, |p, text| {
            let mut radices = Vec::new();
            let mut digits = Vec::new();
            let mut places = Vec::new();
            for (i, b) in text.iter().enumerate().skip(from) {
                let Some(d) = char::from(*b).to_digit(16) else { continue };
                // a group's first digit is never 0, or it would be written shorter
                let head = i == 0 || !text[i - 1].is_ascii_hexdigit();
                if head && d == 0 {
                    continue;
                }
                radices.push(if head { 15 } else { 16 });
                digits.push(d as u16 - u16::from(head));
                places.push((i, head, b.is_ascii_uppercase()));
            }
            p.permute(3, &radices, &mut digits);
            for ((i, head, upper), d) in places.into_iter().zip(digits) {
                let c = char::from_digit(u32::from(d) + u32::from(head), 16).unwrap_or('0');
                text[i] = if upper { c.to_ascii_uppercase() } else { c } as u8;
            }
        });
    }

    /// Replaces a secret by filler: letters and digits, lines of PEM and of base64 in their form. `keep` says which
    /// bytes stay (what JSON writes with a short escape).
    pub(crate) fn fill(&mut self, text: &mut [u8], keep: &dyn Fn(usize) -> bool, base64: bool) {
        const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        if text.len() < 8 && !base64 {
            // so short that filler of different values would often be equal
            let mut part = 0;
            while part < text.len() {
                let len = text[part..].iter().position(|b| !is_word(*b)).unwrap_or(text.len() - part);
                if len == 1 && text[part].is_ascii_alphanumeric() || len > 1 {
                    self.letters(4, &mut text[part..part + len]);
                }
                part += len.max(1);
            }
            return;
        }
        let random = self.stream(5, text, text.len());
        let padding = text.iter().rev().take_while(|b| **b == b'=').count();
        let len = text.len();
        let mut from = 0;
        while from < len {
            let to = text[from..].iter().position(|b| *b == b'\n').map_or(len, |n| from + n + 1);
            // the lines that say what a PEM block is
            let label = text[from..to].starts_with(b"-----") && text[from..to].trim_ascii_end().ends_with(b"-----");
            for i in from..to {
                let stays = keep(i) || matches!(text[i], b'\n' | b'\r' | 0x80..) || (base64 && i + padding >= len);
                if !stays && !label {
                    text[i] = DIGITS[usize::from(random[i]) % 62];
                }
            }
            from = to;
        }
        // bytes above ASCII by whole characters, so that the text stays text
        if text.iter().any(|b| *b >= 0x80) {
            let mut i = 0;
            while i < text.len() {
                let end = text[i..].iter().position(|b| *b < 0x80).map_or(text.len(), |n| i + n);
                if end > i {
                    self.letters(6, &mut text[i..end]);
                }
                i = end.max(i) + 1;
            }
        }
        if base64 && (1..=2).contains(&padding) && len > padding {
            // the bits that padding leaves unused are zero
            let set: &[u8] = if padding == 2 { b"AQgw" } else { b"AEIMQUYcgkosw048" };
            let last = len - padding - 1;
            text[last] = set[usize::from(random[last]) % set.len()];
        }
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80
}

/// First character and size of the alphabet a character is permuted in.
fn alphabet(c: char) -> (u32, u16) {
    match c {
        'a'..='z' => (u32::from('a'), 26),
        'A'..='Z' => (u32::from('A'), 26),
        '0'..='9' => (u32::from('0'), 10),
        // whole blocks of letters, with as many bytes in UTF-8: Latin supplement to Cyrillic, Hangul, emoji
        '\u{c0}'..='\u{24f}' => (0xc0, 0x190),
        '\u{80}'..='\u{7ff}' => (0x430, 0x20),
        '\u{800}'..='\u{ffff}' => (0x4e00, 0x4000),
        '\u{10000}'.. => (0x1_f300, 0x100),
        c => (u32::from(c), 1),
    }
}

/// Words of a tool's own output.
pub(crate) struct Vocabulary {
    words: HashSet<&'static str>,
    /// Sizes stay too, whatever they are: `4096B`.
    sizes: bool,
}

impl Vocabulary {
    /// bpftool's.
    pub(crate) fn bpf() -> &'static Self {
        static WORDS: OnceLock<Vocabulary> = OnceLock::new();
        WORDS.get_or_init(|| Self { words: words(include_str!("words_bpf.txt")), sizes: true })
    }

    /// That of logs of Envoy and istiod.
    pub(crate) fn log() -> &'static Self {
        static WORDS: OnceLock<Vocabulary> = OnceLock::new();
        WORDS.get_or_init(|| Self { words: words(include_str!("words_log.txt")), sizes: false })
    }

    fn holds(&self, word: &[u8]) -> bool {
        let size = |w: &[u8]| w.strip_suffix(b"B").unwrap_or(w).iter().all(u8::is_ascii_digit);
        let folded = || std::str::from_utf8(word).map(str::to_ascii_lowercase).unwrap_or_default();
        self.sizes && size(word) || self.words.contains(folded().as_str())
    }
}

fn words(text: &'static str) -> HashSet<&'static str> {
    text.lines().filter(|l| !l.starts_with('#')).flat_map(str::split_ascii_whitespace).collect()
}

fn known() -> &'static HashSet<&'static str> {
    static WORDS: OnceLock<HashSet<&'static str>> = OnceLock::new();
    WORDS.get_or_init(|| words(include_str!("words.txt")))
}

/// Words that say nothing about anybody: of the vocabulary, single letters, ports and small numbers, versions
/// (`v1alpha3`), quantities (`15s`, `512Mi`).
fn stays(word: &[u8]) -> bool {
    if word.len() == 1 {
        return word[0] < 0x80;
    }
    let Ok(text) = std::str::from_utf8(word) else { return false };
    let digits = word.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == word.len() {
        return digits <= SHORT_DIGITS;
    }
    if (1..=SHORT_DIGITS).contains(&digits)
        && ["s", "ms", "us", "ns", "m", "h", "d", "k", "Ki", "Mi", "Gi", "B", "KiB", "MiB", "GiB", "xx"]
            .contains(&&text[digits..])
    {
        return true;
    }
    if let Some(rest) = text.strip_prefix('v') {
        let bare = rest.replace("alpha", "").replace("beta", "");
        if bare.len() <= 3 && bare.bytes().all(|b| b.is_ascii_digit()) {
            return true;
        }
    }
    let lower;
    let folded = if word.iter().any(u8::is_ascii_uppercase) {
        lower = text.to_ascii_lowercase();
        lower.as_str()
    } else {
        text
    };
    known().contains(folded)
}

/// Whether a whole text is one that [`Pseudonyms::names`] leaves alone.
pub(crate) fn is_known(word: &str) -> bool {
    word.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).all(|w| stays(w.as_bytes()))
}

/// Length of the RFC 3339 time that `text` begins with.
fn timestamp(text: &[u8]) -> Option<usize> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(b, s): (&u8, &u8)| if *s == b'd' { b.is_ascii_digit() } else { b == s };
    if text.len() < shape.len() || !text.iter().zip(shape).all(fits) {
        return None;
    }
    let mut len = shape.len();
    if text.get(len) == Some(&b'.') {
        len += 1 + text[len + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
    }
    match text.get(len) {
        Some(b'Z') => len += 1,
        Some(b'+' | b'-') if text.len() >= len + 6 => len += 6,
        _ => {}
    }
    Some(len)
}

/// Length of the IPv4 address that `text` begins with.
fn ipv4(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for octet in 0..4 {
        let len = text[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let value = text[at..at + len].iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
        if !(1..=3).contains(&len) || value > 255 || (len > 1 && text[at] == b'0') {
            return None;
        }
        at += len;
        if octet < 3 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
    }
    let ends = match text.get(at) {
        Some(b'.') => !text.get(at + 1).is_some_and(|b| is_word(*b)),
        Some(b) => !is_word(*b),
        None => true,
    };
    ends.then_some(at)
}

/// Length of the IPv6 address that `text` begins with: eight groups, or fewer around `::`.
fn ipv6(text: &[u8]) -> Option<usize> {
    let len = text.iter().take(46).take_while(|b| b.is_ascii_hexdigit() || **b == b':').count();
    let candidate = std::str::from_utf8(&text[..len]).ok()?;
    let dotted = text.get(len) == Some(&b'.') || text.get(len).is_some_and(|b| is_word(*b));
    (candidate.matches(':').count() >= 2 && !dotted && candidate.parse::<core::net::Ipv6Addr>().is_ok()).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> String {
        let mut p = Pseudonyms::new([7; 32], false);
        let mut bytes = text.as_bytes().to_vec();
        p.names(&mut bytes, false);
        String::from_utf8(bytes).expect("text stays text")
    }

    #[test]
    fn the_form_of_a_name_stays() {
        let got = names("outbound|8080|v1|reviews.payments.svc.cluster.local");
        assert!(got.starts_with("outbound|8080|v1|") && got.ends_with(".svc.cluster.local"), "{got}");
        assert!(!got.contains("reviews") && !got.contains("payments"));
        assert_eq!(got.len(), "outbound|8080|v1|reviews.payments.svc.cluster.local".len());
        assert_eq!(names("15s 512Mi 2026-11-21T05:00:00.123456789Z 80"), "15s 512Mi 2026-11-21T05:00:00.123456789Z 80");
        assert_ne!(names("Zürich"), "Zürich");
        assert_eq!(names("日本語テキスト").chars().count(), 7);
    }

    #[test]
    fn different_names_stay_different() {
        let mut seen = std::collections::HashSet::new();
        for a in b'a'..=b'z' {
            for b in b'a'..=b'z' {
                for c in 0..10 {
                    let word = format!("{}{}{c}", char::from(a), char::from(b));
                    assert!(seen.insert(names(&word)), "{word}");
                }
            }
        }
        let mut p = Pseudonyms::new([7; 32], false);
        let mut addresses = std::collections::HashSet::new();
        for n in 0..=255_u32 {
            let mut text = format!("10.1.2.{n}").into_bytes();
            p.names(&mut text, false);
            assert!(text.starts_with(b"10."));
            assert!(addresses.insert(text));
        }
    }

    #[test]
    fn addresses_keep_their_class() {
        assert!(names("172.16.3.4:80").starts_with("172.16."));
        assert!(names("192.168.3.4_80").ends_with("_80"));
        let stat = names("listener.192.168.3.4_80.downstream_cx_active");
        assert!(stat.starts_with("listener.192.168.") && stat.ends_with("_80.downstream_cx_active"), "{stat}");
        assert_eq!(stat["listener.".len()..].split('_').next().unwrap(), names("192.168.3.4"));
        for kept in ["127.0.0.1", "0.0.0.0", "1.2.3.4.5", "v1.22.3.4", "169.254.169.254", "::1", "1.22.3"] {
            assert_eq!(names(kept), kept);
        }
        let six = names("[fd00:12:ab::7]:80");
        assert!(six.starts_with("[fd00:") && six.ends_with("]:80") && six != "[fd00:12:ab::7]:80", "{six}");
        assert_ne!(names("2001:db8::dead:beef"), "2001:db8::dead:beef");
    }

    #[test]
    fn regular_expressions_keep_their_syntax() {
        let mut p = Pseudonyms::new([7; 32], false);
        let mut text = br"^(?i)shop-[a-z0-9]+\d{2}\.example$".to_vec();
        p.names(&mut text, true);
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("^(?i)") && text.contains(r"-[a-z0-9]+\d{2}\.") && !text.contains("shop"), "{text}");
    }

    #[test]
    fn filler() {
        let mut p = Pseudonyms::new([7; 32], false);
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n";
        let mut text = pem.as_bytes().to_vec();
        p.fill(&mut text, &|_| false, false);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.len(), pem.len());
        assert!(
            text.starts_with("-----BEGIN PRIVATE KEY-----\n") && text.ends_with("-----END PRIVATE KEY-----\n"),
            "{text}"
        );
        assert!(!text.contains("MIIE"), "{text}");
        let mut b64 = b"c2VjcmV0IHZhbHVlIGhlcmU=".to_vec();
        p.fill(&mut b64, &|_| false, true);
        assert!(b64.ends_with(b"=") && b64 != b"c2VjcmV0IHZhbHVlIGhlcmU=");
        let mut short = b"p@ss1".to_vec();
        p.fill(&mut short, &|_| false, false);
        assert!(short != b"p@ss1");
    }
}
