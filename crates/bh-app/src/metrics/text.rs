//! The Prometheus text format, for those who do not read OpenMetrics.

/// Rewrites OpenMetrics as version 0.0.4 of the text format. There a counter's own name ends in `_total`, and neither
/// units nor an end are told.
#[must_use]
pub fn plain_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line.starts_with("# EOF") || line.starts_with("# UNIT ") {
            continue;
        }
        // What is a counter is said one line after the name is told first.
        let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let of_counter = is_counter(line) || (line.starts_with("# HELP ") && is_counter(next));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            [hash, word, name, rest] if of_counter => {
                text.extend([hash, " ", word, " ", name, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain_text;

    #[test]
    fn counters_are_named_as_their_samples_are() {
        let open = "# HELP calls Calls made.\n# TYPE calls counter\ncalls_total{tenant=\"a\"} 3\n\
                    # HELP took_seconds Time.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\ntook_seconds_sum 1.5\n\
                    # HELP up Up.\n# TYPE up gauge\nup 1\n# EOF\n";
        let plain = "# HELP calls_total Calls made.\n# TYPE calls_total counter\ncalls_total{tenant=\"a\"} 3\n\
                     # HELP took_seconds Time.\n# TYPE took_seconds histogram\ntook_seconds_sum 1.5\n\
                     # HELP up Up.\n# TYPE up gauge\nup 1\n";
        assert_eq!(plain_text(open), plain);
        assert_eq!(plain_text(""), "");
    }
}
