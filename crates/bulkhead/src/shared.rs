//! What replicas share in Redis, as it is configured.

use std::sync::Arc;
use std::time::Duration;

use bh_adapters::{Redis, RedisFault, RedisMemory, RedisServer};
use bh_app::keys::SharedParts;
use bh_config::Loaded;
use bh_config::schema::{Cache, CacheRedis, CacheType};

use crate::secrets::ServerSecrets;

const HOST: (&str, u16) = ("localhost", 6379);
const TIMEOUT: Duration = Duration::from_millis(500);
const PREFIX: &str = "tenant";

/// What rows of keys are shared with: `None` where nobody asks for it. No connection is made before it is needed.
pub(crate) fn rows(loaded: &Loaded, secrets: &ServerSecrets) -> Result<Option<SharedParts>, RedisFault> {
    let cache = loaded.config.cache.as_ref();
    let of_redis = |cache: &Cache| cache.redis.is_some() || cache.r#type == Some(CacheType::Redis);
    let overlays = loaded.overlays.files().iter().filter_map(|overlay| overlay.settings.as_ref().ok());
    let mut all = overlays.map(|keys| keys.cache.as_ref()).chain([cache]).flatten();
    if !all.any(of_redis) {
        return Ok(None);
    }
    let prefix = loaded.config.redis.as_ref().map_or(PREFIX, |redis| redis.tenant_prefix.as_str());
    let redis = Redis::new(&server(cache.and_then(|cache| cache.redis.as_ref())))?;
    let memory = Arc::new(RedisMemory::new(redis, prefix));
    Ok(Some(SharedParts { memory, prefix: prefix.to_owned(), seal: secrets.derive("shared rows of keys") }))
}

fn server(configured: Option<&CacheRedis>) -> RedisServer {
    let address = configured.and_then(|redis| redis.addrs.as_ref()?.first());
    let (host, port) = address.and_then(|address| CacheRedis::host_and_port(address)).unwrap_or(HOST);
    RedisServer {
        host: host.to_owned(),
        port,
        db: configured.map_or(0, |redis| redis.db),
        username: configured.and_then(|redis| redis.username.clone()),
        password: configured
            .and_then(|redis| redis.password.as_ref())
            .map(|secret| secret.expose().to_owned().into()),
        tls: configured.is_some_and(|redis| redis.tls.enabled),
        timeout: configured.and_then(|redis| redis.timeout.as_ref()).map_or(TIMEOUT, |timeout| timeout.0),
    }
}
