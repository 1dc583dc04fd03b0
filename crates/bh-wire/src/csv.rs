//! Comma-separated values by RFC 4180, safe to open in a spreadsheet.

/// Writes rows of text. A cell that a spreadsheet would take for a formula gets a leading apostrophe.
#[derive(Debug, Default)]
pub struct CsvWriter {
    out: String,
}

impl CsvWriter {
    /// An empty file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row, ended by CRLF.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        for (column, cell) in cells.into_iter().enumerate() {
            if column > 0 {
                self.out.push(',');
            }
            self.cell(cell.as_ref());
        }
        self.out.push_str("\r\n");
    }

    /// Takes what was written since the last call, so that an export can be streamed.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    fn cell(&mut self, cell: &str) {
        let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
        if !cell.contains([',', '"', '\r', '\n']) {
            self.out.push_str(guard);
            self.out.push_str(cell);
            return;
        }
        self.out.push('"');
        self.out.push_str(guard);
        self.out.push_str(&cell.replace('"', "\"\""));
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_only_when_they_must_be() {
        let mut csv = CsvWriter::new();
        csv.row(["id", "note"]);
        csv.row(["1", "a \"b\", c"]);
        csv.row(["", "two\nlines"]);
        assert_eq!(csv.take(), "id,note\r\n1,\"a \"\"b\"\", c\"\r\n,\"two\nlines\"\r\n");
        assert_eq!(csv.take(), "");
    }

    #[test]
    fn a_formula_is_disarmed() {
        let mut csv = CsvWriter::new();
        csv.row(["=1+1", "+1", "-1", "@x", "\tx", "\rx", "=HYPERLINK(\"a\",\"b\")"]);
        assert_eq!(csv.take(), "'=1+1,'+1,'-1,'@x,'\tx,\"'\rx\",\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"\r\n");
    }
}
