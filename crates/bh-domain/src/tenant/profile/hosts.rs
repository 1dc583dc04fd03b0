//! Host names of a tenant that was made at run time.

use super::SettingsError;
use crate::hostname::HostPattern;

/// Most host names of one tenant.
pub const HOSTNAMES_MAX: usize = 64;

const FIELD: &str = "hostnames";

/// The names as they are compared, each once. A wildcard would reach into what is not the tenant's: only a configuration
/// file has these.
pub(super) fn normalised(given: &[String]) -> Result<Vec<String>, SettingsError> {
    if given.len() > HOSTNAMES_MAX {
        return Err(SettingsError::new(FIELD, format!("at most {HOSTNAMES_MAX} host names")));
    }
    let mut names: Vec<String> = Vec::with_capacity(given.len());
    for text in given {
        let Ok(HostPattern::Exact(name)) = HostPattern::parse(text) else {
            let problem = format!(
                "`{}` is no host name such as acme.example.com: at most 253 ASCII characters (an international one in \
                 its `xn--` form), and no wildcard, which only a configuration file may have",
                text.escape_debug()
            );
            return Err(SettingsError::new(FIELD, problem));
        };
        if !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }
    Ok(names)
}
