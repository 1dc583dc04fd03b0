//! Which doors a process opens (Talos dossier §10): all of them, or one plane of the API-key server alone.

use crate::matrix::Row;

const ADMIN_ROUTES: &str = "/v2alpha1/admin/";
const SELF_REVOKE: &str = "/v2alpha1/apiKeys:selfRevoke";
const KEY_SETS: [&str; 2] = ["/v2alpha1/derivedKeys/jwks.json", "/.well-known/jwks.json"];

/// Which doors a process opens. What is closed is no route: 404.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surface {
    /// All of them.
    #[default]
    All,
    /// The administration of keys, and the key set: `serve admin`.
    KeyAdmin,
    /// What holders of keys may do, and the key set; safe to expose: `serve public`.
    KeyPublic,
}

impl Surface {
    /// Whether a row of the matrix answers. Probes always do.
    pub(crate) fn has(self, row: &Row) -> bool {
        let everywhere = row.is_probe() || KEY_SETS.contains(&row.path);
        match self {
            // The description is of all doors.
            Self::All => true,
            Self::KeyAdmin => everywhere || row.path.starts_with(ADMIN_ROUTES),
            Self::KeyPublic => everywhere || row.path == SELF_REVOKE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::MATRIX;

    #[test]
    fn each_plane_has_its_own_routes_and_both_have_probes_and_the_key_set() {
        let of = |surface: Surface| MATRIX.iter().filter(move |row| surface.has(row)).map(|row| row.path);
        let (admin, public): (Vec<_>, Vec<_>) =
            (of(Surface::KeyAdmin).collect(), of(Surface::KeyPublic).collect());
        for path in KEY_SETS.into_iter().chain(["/health/alive", "/health/ready", "/healthz"]) {
            assert!(admin.contains(&path) && public.contains(&path), "{path}");
        }
        assert!(public.contains(&SELF_REVOKE) && !admin.contains(&SELF_REVOKE));
        assert!(admin.contains(&"/v2alpha1/admin/apiKeys:verify"));
        assert!(!public.iter().any(|path| path.starts_with(ADMIN_ROUTES)));
        assert!(!admin.iter().chain(&public).any(|path| path.starts_with("/v1/") && *path != "/v1/health"));
        assert_eq!(of(Surface::All).count(), MATRIX.len());
    }
}
