//! One scenario, both stores.

/// Which store a gateway under test is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The embedded default, in the data directory.
    Sqlite,
    /// A fresh database on the test run's PostgreSQL.
    Postgres,
}

/// Writes one async scenario as two tests, `NAME::on_sqlite` and `NAME::on_postgres`.
///
/// ```text
/// on_both_stores! {
///     /// Proves: TALON-03
///     async fn a_tenant_sees_only_its_own_records(store) {
///         let gateway = Gateway::builder(env!("CARGO_BIN_EXE_bulkhead")).store(store).start().await;
///     }
/// }
/// ```
#[macro_export]
macro_rules! on_both_stores {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident) $scenario:block)+) => {
        $(
            $(#[$attribute])*
            mod $name {
                #[allow(unused_imports, reason = "a scenario may need nothing of its module")]
                use super::*;

                async fn scenario($store: $crate::Store) $scenario

                #[test]
                pub(super) fn on_sqlite() {
                    $crate::run_scenario(scenario($crate::Store::Sqlite));
                }

                #[test]
                pub(super) fn on_postgres() {
                    $crate::run_scenario(scenario($crate::Store::Postgres));
                }
            }
        )+
    };
}

/// Runs one scenario on a runtime of its own: the work of `#[tokio::test]`, for whoever has none.
///
/// # Panics
/// When no runtime can be started.
pub fn run_scenario<T>(scenario: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started").block_on(scenario)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use crate::Store;

    thread_local! {
        static SEEN: RefCell<Vec<Store>> = const { RefCell::new(Vec::new()) };
    }

    on_both_stores! {
        /// Notes the store it was run on.
        async fn noting(store) {
            SEEN.with_borrow_mut(|seen| seen.push(store));
        }
    }

    #[test]
    fn one_scenario_becomes_a_test_on_each_store() {
        SEEN.with_borrow_mut(Vec::clear);
        noting::on_sqlite();
        noting::on_postgres();
        assert_eq!(SEEN.take(), [Store::Sqlite, Store::Postgres]);
    }
}
