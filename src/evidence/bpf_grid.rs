//! Grids of maps created on one kernel: CSV with `type,key,value,max_entries,flags,inserted,memlock,ncpus[,note]`.
//!
//! Older grids have no header for the ninth column; it is the note. `inserted` may carry a word (`halfdel:1000`,
//! `nested:20`), or the note does (`halfdel`). Lines that begin with `#` are remarks; the first one of a probe names
//! the kernel and its CPUs. Numbers may be decimal or hexadecimal, flags also names.

use crate::model::bpf::{MapType, Shape, flag};
use crate::model::bpf_grid::{Inserted, Outcome, Pattern, Row};
use crate::model::problem::{Loss, Problem};

/// The columns of a grid, as their text.
pub const COLUMNS: [&str; 9] = ["type", "key", "value", "max_entries", "flags", "inserted", "memlock", "ncpus", "note"];

/// One row: its text, to be written back unchanged, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridRow {
    /// The text of each of [`COLUMNS`].
    pub text: [Box<str>; 9],
    /// Its meaning.
    pub row: Row,
}

/// A grid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grid {
    /// Rows in the file's order.
    pub rows: Vec<GridRow>,
    /// The kernel release its remark names.
    pub release: Option<Box<str>>,
}

/// Reads a grid. A row that cannot be understood is kept, without a meaning, and is one problem.
pub fn read(label: &str, bytes: &[u8]) -> (Grid, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut grid = Grid::default();
    let mut cpus_of_remark = None;
    let mut order: Option<[Option<usize>; 9]> = None;
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                let offset = e.position().map_or(0, csv::Position::byte);
                problems.push(Problem::new(label, Loss::Part, format!("not CSV from here on: {e}")).at(offset));
                break;
            }
        }
        let fields: Vec<String> = record.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
        let first = fields.first().map_or("", String::as_str).trim_start_matches('\u{feff}');
        if fields.iter().all(String::is_empty) {
            continue;
        }
        if first.starts_with('#') {
            remark(&fields.join(","), &mut grid, &mut cpus_of_remark);
            continue;
        }
        if order.is_none() {
            let named = COLUMNS.map(|c| fields.iter().position(|f| column_name(f) == c));
            let is_header = first.eq_ignore_ascii_case("type") || named.iter().flatten().count() >= 5;
            let mut columns = if is_header { named } else { std::array::from_fn(Some) };
            if is_header && columns[8].is_none() {
                // the unnamed ninth column
                let unnamed = fields.iter().position(String::is_empty);
                columns[8] = unnamed.or(Some(fields.len()));
            }
            order = Some(columns);
            if is_header {
                continue;
            }
        }
        let columns = order.unwrap_or_else(|| std::array::from_fn(Some));
        let mut text: [Box<str>; 9] =
            columns.map(|at| at.and_then(|i| fields.get(i)).map_or("", String::as_str).into());
        if text[0].starts_with('\u{feff}') {
            text[0] = text[0].trim_start_matches('\u{feff}').into();
        }
        let row = meaning(&text, cpus_of_remark).unwrap_or_else(|column| {
            let position = record.position();
            let mut problem = Problem::new(
                label,
                Loss::Part,
                format!("`{}` is no {} of a map", shorten(&text[column]), COLUMNS[column]),
            )
            .at(position.map_or(0, csv::Position::byte))
            .hint("the row is kept, without a prediction");
            problem.line = position.map(csv::Position::line);
            problems.push(problem);
            Row {
                shape: None,
                inserted: Inserted { keys: 0, pattern: Pattern::Plain },
                cpus: None,
                outcome: Outcome::Unknown,
            }
        });
        grid.rows.push(GridRow { text, row });
    }
    if grid.rows.iter().all(|r| r.row.shape.is_none()) {
        problems.clear();
        problems.push(
            Problem::new(label, Loss::Whole, "no rows of a grid")
                .hint("expected CSV with the columns type,key,value,max_entries,flags,inserted,memlock,ncpus,note"),
        );
    }
    (grid, problems)
}

fn column_name(field: &str) -> String {
    let name = field.trim_start_matches('\u{feff}').trim().to_ascii_lowercase();
    match name.as_str() {
        "map_type" => "type".into(),
        "key_size" | "bytes_key" => "key".into(),
        "value_size" | "bytes_value" => "value".into(),
        "max" | "entries_max" => "max_entries".into(),
        "map_flags" => "flags".into(),
        "bytes_memlock" => "memlock".into(),
        "cpus" | "ncpu" => "ncpus".into(),
        "notes" => "note".into(),
        _ => name,
    }
}

/// `# 6.1.0-56-cloud-amd64 ncpu=1 possible=0-3`: the release, and the CPUs (possible ones before online ones).
fn remark(line: &str, grid: &mut Grid, cpus: &mut Option<u32>) {
    for word in line.trim_start_matches('#').split_whitespace() {
        if let Some(range) = word.strip_prefix("possible=") {
            let last = range.rsplit(['-', ',']).next().and_then(|n| n.parse::<u32>().ok());
            *cpus = last.map(|n| n + 1).or(*cpus);
        } else if let Some(count) = word.strip_prefix("ncpu=").or_else(|| word.strip_prefix("ncpus=")) {
            *cpus = (*cpus).or_else(|| count.parse().ok());
        } else if grid.release.is_none() && word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') {
            grid.release = Some(word.into());
        }
    }
}

/// What a row means, or the index of the column that means nothing.
fn meaning(text: &[Box<str>; 9], cpus_of_remark: Option<u32>) -> Result<Row, usize> {
    let map_type = MapType::from_name(&text[0]).ok_or(0usize)?;
    let size = |column: usize| -> Result<u32, usize> {
        let text = text[column].trim();
        if text.is_empty() { Ok(0) } else { number(text).and_then(|n| u32::try_from(n).ok()).ok_or(column) }
    };
    let mut shape = Shape {
        map_type,
        key: size(1)?,
        value: size(2)?,
        max_entries: size(3)?,
        flags: flags(&text[4]).ok_or(4usize)?,
        extra: 0,
    };
    let mut inserted = Inserted { keys: 0, pattern: Pattern::Plain };
    for part in text[5].split([':', ' ', '=']).filter(|p| !p.is_empty()) {
        match (pattern(part), number(part)) {
            (Some(named), _) => inserted.pattern = named,
            (None, Some(keys)) => inserted.keys = keys,
            (None, None) => return Err(5),
        }
    }
    for part in text[8].split([';', ' ', ',', '|']).filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once(['=', ':']).unwrap_or((part, ""));
        match (name, number(value)) {
            ("extra" | "map_extra", Some(n)) => shape.extra = n,
            ("max_entries_shown", Some(n)) => shape.max_entries = u32::try_from(n).map_err(|_| 8usize)?,
            (word, n) => {
                if let Some(named) = pattern(word) {
                    inserted.pattern = named;
                    inserted.keys = n.unwrap_or(inserted.keys);
                }
            }
        }
    }
    let outcome = match text[6].trim() {
        "" | "?" | "-" | "NA" | "nan" => Outcome::Unknown,
        written => match number(written) {
            Some(bytes) => Outcome::Bytes(bytes),
            None if written.to_ascii_uppercase().starts_with('E') => Outcome::Refused(written.into()),
            None => return Err(6),
        },
    };
    let cpus = match text[7].trim() {
        "" => cpus_of_remark,
        written => Some(number(written).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or(7usize)?),
    };
    Ok(Row { shape: Some(shape), inserted, cpus, outcome })
}

fn pattern(word: &str) -> Option<Pattern> {
    Some(match word {
        "halfdel" | "half_deleted" => Pattern::HalfDeleted,
        "nested" => Pattern::Nested,
        "sparse" => Pattern::Sparse,
        _ => return None,
    })
}

/// A decimal or hexadecimal number; a whole number with a fraction of zero (`4096.0`, from spreadsheets) counts.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
        if !fraction.is_empty() && fraction.bytes().all(|b| b == b'0') { whole } else { text }
    });
    whole.parse().ok()
}

/// Flags: a number, or names with or without `BPF_F_`, joined by `|`, `+`, `,` or spaces.
fn flags(text: &str) -> Option<u32> {
    let mut sum = 0;
    for word in text.split(['|', '+', ',', ' ']).filter(|w| !w.is_empty()) {
        sum |= match number(word) {
            Some(n) => u32::try_from(n).ok()?,
            None => {
                let upper = word.to_ascii_uppercase();
                let name = upper.strip_prefix("BPF_F_").unwrap_or(&upper);
                if name == "NONE" { 0 } else { flag::NAMES.iter().find(|(n, _)| *n == name)?.1 }
            }
        };
    }
    Some(sum)
}

fn shorten(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_default).collect()
}
