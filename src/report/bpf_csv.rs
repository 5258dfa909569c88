//! Predictions for a grid, as CSV.

use crate::cost::kernel::grid::Prediction;
use crate::cost::kernel::solve::{CpusFrom, EraFrom, Fit};

/// The grid's rows as they were written, with a last column `predicted`: bytes, the error of a refused map, or nothing.
pub fn predictions<'a>(columns: &[&str], rows: impl Iterator<Item = [&'a str; 9]>, predicted: &[Prediction]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut record: Vec<&str> = columns.to_vec();
    record.push("predicted");
    // writing to memory fails for no reason but ragged records, and all have the same length
    let _ = writer.write_record(&record);
    let mut number = String::new();
    for (row, predicted) in rows.zip(predicted) {
        number.clear();
        match predicted {
            Prediction::Bytes(bytes) => number.push_str(&bytes.to_string()),
            Prediction::Refused(error) => number.push_str(error),
            Prediction::None => {}
        }
        record.clear();
        let _ = writer.write_record(row.iter().copied().chain([number.as_str()]));
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// One line on how the numbers came about.
pub fn fit_note(fit: &Fit) -> String {
    let era = match fit.era {
        EraFrom::Version => "by the version",
        EraFrom::Data | EraFrom::Open => "the known rows agree",
        EraFrom::DataAgainstVersion => "by the known rows, against the version: this kernel has back-ports",
    };
    let cpus = match fit.cpus {
        CpusFrom::Given => "given",
        CpusFrom::Solved => "solved",
        CpusFrom::Inferred => "inferred from the hash header",
        CpusFrom::Assumed => "assumed",
    };
    let sizes: Vec<String> = fit
        .solved
        .iter()
        .map(|(header, votes)| format!("{} {} ({votes})", header.struct_name(), fit.profile.size(*header)))
        .collect();
    let sizes = if sizes.is_empty() { "none, all from the built-in table".to_owned() } else { sizes.join(", ") };
    format!(
        "memlock as in kernels {} ({era}); {} CPUs ({cpus}); {} of {} known rows explained to the byte; sizes solved: {sizes}",
        fit.profile.era.kernels(),
        fit.profile.cpus,
        fit.explained,
        fit.known,
    )
}
