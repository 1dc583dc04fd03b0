//! What replicas share in Redis, as it is configured.

use std::sync::Arc;
use std::time::Duration;

use bh_adapters::{Redis, RedisCounts, RedisFault, RedisMemory, RedisServer};
use bh_app::keys::SharedParts;
use bh_app::metrics::Metrics;
use bh_app::ports::Clock;
use bh_app::rates::{OnOutage, SharedNames, SharedRates};
use bh_app::vault::RootKey;
use bh_config::Loaded;
use bh_config::schema::{Cache, CacheRedis, CacheType, RateLimitBackend, RateLimitOutage};

const HOST: (&str, u16) = ("localhost", 6379);
const TIMEOUT: Duration = Duration::from_millis(500);
const PREFIX: &str = "tenant";
/// How long a request waits to be counted.
const COUNT_TIMEOUT: Duration = Duration::from_millis(50);

/// What rows of keys are shared with: `None` where nobody asks for it. No connection is made before it is needed.
pub(crate) fn rows(loaded: &Loaded, root: &RootKey) -> Result<Option<SharedParts>, RedisFault> {
    let cache = loaded.config.cache.as_ref();
    let of_redis = |cache: &Cache| cache.redis.is_some() || cache.r#type == Some(CacheType::Redis);
    let overlays = loaded.overlays.files().iter().filter_map(|overlay| overlay.settings.as_ref().ok());
    let mut all = overlays.map(|keys| keys.cache.as_ref()).chain([cache]).flatten();
    if !all.any(of_redis) {
        return Ok(None);
    }
    let prefix = prefix(loaded);
    let redis = Redis::new(&server(cache.and_then(|cache| cache.redis.as_ref())))?;
    let memory = Arc::new(RedisMemory::new(redis, prefix));
    Ok(Some(SharedParts { memory, prefix: prefix.to_owned(), seal: root.derive("shared rows of keys") }))
}

/// What requests of tenants are counted with: `None` where each replica counts alone. No connection is made before it is
/// needed.
pub(crate) fn rates(
    loaded: &Loaded,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<SharedRates>>, RedisFault> {
    let config = &loaded.config;
    let Some(limits) = &config.rate_limit else { return Ok(None) };
    match limits.backend {
        Some(RateLimitBackend::Redis) => {}
        Some(RateLimitBackend::Memory) | None => return Ok(None),
    }
    let timeout = limits.timeout.as_ref().map_or(COUNT_TIMEOUT, |timeout| timeout.0);
    let redis = match config.redis.as_ref().and_then(|redis| redis.url.as_ref()) {
        Some(url) => Redis::at(&url.expose().to_owned().into(), timeout)?,
        None => {
            let configured = config.cache.as_ref().and_then(|cache| cache.redis.as_ref());
            Redis::new(&RedisServer { timeout, ..server(configured) })?
        }
    };
    let on_outage = match limits.on_outage.unwrap_or(RateLimitOutage::Share) {
        RateLimitOutage::Share => OnOutage::Share,
        RateLimitOutage::Open => OnOutage::Open,
        RateLimitOutage::Closed => OnOutage::Closed,
    };
    let tenant_first =
        config.multi_tenant.as_ref().is_none_or(|tenancy| tenancy.isolation.separate_redis_namespace);
    let names = SharedNames { prefix: prefix(loaded).to_owned(), tenant_first };
    let counts = Arc::new(RedisCounts::new(redis));
    Ok(Some(Arc::new(SharedRates::new(counts, names, on_outage, Arc::clone(clock), Arc::clone(metrics)))))
}

fn prefix(loaded: &Loaded) -> &str {
    loaded.config.redis.as_ref().map_or(PREFIX, |redis| redis.tenant_prefix.as_str())
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
