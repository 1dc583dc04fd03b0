use serde_json::json;

use super::*;

fn change(of: &Settings, change: &Value) -> Result<Settings, SettingsError> {
    of.changed(change.as_object().unwrap())
}

#[test]
fn changes_are_merged_deeply_and_null_takes_away() {
    let first = json!({"name": "ACME", "plan": "enterprise", "limits": {"requestsPerMinute": 2000, "maxCustomServers": 20}});
    let made = change(&Settings::default(), &first).unwrap();
    let second = json!({"limits": {"requestsPerMinute": 5000}, "features": {"oauth": true}, "budgets": {"daily": "12.5"}});
    let made = change(&made, &second).unwrap();
    assert_eq!((made.limits.requests_per_minute, made.limits.max_custom_servers), (Some(5000), Some(20)));
    assert_eq!((made.name.as_deref(), made.features.oauth), (Some("ACME"), Some(true)));
    assert_eq!(made.budgets.daily, NanoUsd::parse_decimal("12.5").ok());
    let third = json!({"limits": {"maxCustomServers": null}, "plan": null, "security": {"allowedIPs": ["203.0.113.0/24"]}});
    let made = change(&made, &third).unwrap();
    assert_eq!((made.limits.max_custom_servers, made.plan.as_deref()), (None, None));
    assert_eq!((made.limits.requests_per_minute, made.security.networks().len()), (Some(5000), 1));
}

#[test]
fn what_cannot_be_a_setting_is_told_with_its_place() {
    for (wrong, field) in [
        (json!({"limit": {}}), "limit"),
        (json!({"limits": {"requestsPerMinute": "many"}}), "limits"),
        (json!({"limits": {"requestsPerMinute": 0}}), "limits.requestsPerMinute"),
        (json!({"limits": [5000]}), "limits"),
        (json!({"features": [null, true]}), "features"),
        (json!({"email": "nobody"}), "email"),
        (json!({"security": {"allowedIPs": ["10.0.0.0/33"]}}), "security.allowedIPs"),
        (json!({"budgets": {"daily": "-1"}}), "budgets.daily"),
        (json!({"budgets": {"daily": 0.5}}), "budgets"),
        (json!({"name": "a\nb"}), "name"),
        (json!({"name": "x".repeat(257)}), "name"),
        (json!({"metadata": {"a": "x".repeat(METADATA_BYTES_MAX)}}), "metadata"),
    ] {
        assert_eq!(change(&Settings::default(), &wrong).unwrap_err().field, field, "{wrong}");
    }
    assert_eq!(slug("api-keys").unwrap_err().field, "id");
    assert_eq!(slug("Acme").unwrap_err().field, "id");
    assert_eq!(slug("default").unwrap().as_str(), "default");
}
