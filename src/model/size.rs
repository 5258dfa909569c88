//! How many bytes, in words.

/// Bytes with a binary unit as Kubernetes writes it, three digits at most: `512`, `3.1Ki`, `404Mi`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["Ki", "Mi", "Gi", "Ti"];
    if bytes < 1024 {
        return bytes.to_string();
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 999.5 && unit < 3 {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1}{}", UNITS[unit]) } else { format!("{value:.0}{}", UNITS[unit]) }
}

/// A size as Kubernetes writes it: `512Mi`, `1Gi`, `300M`, or plain bytes.
///
/// # Errors
/// One line that says what was expected.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => return Err(format!("unknown unit `{unit}`; write it as 512Mi, 1Gi or 300M")),
    };
    let value: f64 = number.parse().map_err(|_| "expected a number, as in 512Mi".to_owned())?;
    Ok((value * factor as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (n, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0Ki"),
            (10 << 10, "10Ki"),
            (1023 << 10, "1.0Mi"),
            (404 << 20, "404Mi"),
            (5 << 30, "5.0Gi"),
        ] {
            assert_eq!(size(n), text);
        }
    }

    #[test]
    fn read() {
        assert_eq!(parse("512Mi"), Ok(512 << 20));
        assert_eq!(parse("1.5G"), Ok(1_500_000_000));
        assert_eq!(parse("17"), Ok(17));
        assert!(parse("12parsecs").is_err());
        assert!(parse("Mi").is_err());
    }
}
