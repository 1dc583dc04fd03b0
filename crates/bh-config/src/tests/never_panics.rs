//! Whatever the bytes, loading ends in a value or in problems.

use proptest::prelude::*;

use super::load_with;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let outcome = load_with(&String::from_utf8_lossy(&bytes), &[]);
        prop_assert!(outcome.is_ok() || outcome.is_err_and(|problems| !problems.is_empty()));
    }

    #[test]
    fn text_that_looks_like_configuration_never_panics(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("gateway:\n"), Just("  callers:\n"), Just("    - name: x\n"), Just("      api_key: ${env:A}\n"),
                Just("server: {listen: "), Just("}\n"), Just("[1, 2"), Just("&a "), Just("*a"), Just("<<: *a\n"),
                Just("? "), Just(": "), Just("|\n  "), Just("\"\\u00"), Just("--- "), Just("!!x "), Just("${"), Just("\u{feff}"),
            ],
            0..24,
        )
    ) {
        let outcome = load_with(&parts.concat(), &[("A", "k")]);
        prop_assert!(outcome.is_ok() || outcome.is_err_and(|problems| !problems.is_empty()));
    }
}
