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
}
