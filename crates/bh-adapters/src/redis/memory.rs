//! What replicas keep for each other in Redis.

use std::time::Duration;

use bh_app::ports::{SharedFault, SharedMemory, SharedResult};
use futures_util::StreamExt as _;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};

use super::Redis;

/// Shared memory in Redis, and a channel for its news.
#[derive(Clone, Debug)]
pub struct RedisMemory {
    redis: Redis,
    channel: String,
}

impl RedisMemory {
    /// What all who name the same prefix share.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str) -> Self {
        Self { redis, channel: format!("{prefix}:news:keys") }
    }

    fn ask<T: FromRedisValue + Send + 'static>(&self, command: Pipeline) -> SharedResult<T> {
        let (mut manager, timeout) = (self.redis.manager.clone(), self.redis.timeout);
        Box::pin(async move {
            // Over everything: finding the server and connecting are in it.
            match tokio::time::timeout(timeout, command.query_async(&mut manager)).await {
                Ok(answer) => answer.map_err(fault),
                Err(elapsed) => Err(SharedFault(Box::new(elapsed))),
            }
        })
    }
}

fn fault(error: RedisError) -> SharedFault {
    SharedFault(Box::new(error))
}

fn one(command: Cmd) -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(command);
    pipeline
}

impl SharedMemory for RedisMemory {
    fn get(&self, names: Vec<String>) -> SharedResult<Vec<Option<Vec<u8>>>> {
        let mut command = redis::cmd("MGET");
        command.arg(names);
        let answer = self.ask::<Vec<Vec<Option<Vec<u8>>>>>(one(command));
        Box::pin(async move { Ok(answer.await?.pop().unwrap_or_default()) })
    }

    fn put(&self, name: String, value: Vec<u8>, ttl: Duration) -> SharedResult<()> {
        let mut command = redis::cmd("SET");
        let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        command.arg(name).arg(value).arg("PX").arg(ms);
        let mut command = one(command);
        command.ignore();
        self.ask(command)
    }

    fn forget(&self, name: String, news: String) -> SharedResult<()> {
        let mut commands = Pipeline::new();
        commands.cmd("DEL").arg(name).ignore();
        commands.cmd("PUBLISH").arg(&self.channel).arg(news).ignore();
        self.ask(commands)
    }

    fn listen(&self, heard: Box<dyn Fn(&str) + Send + Sync>) -> SharedResult<()> {
        let (client, channel, timeout) =
            (self.redis.client.clone(), self.channel.clone(), self.redis.timeout);
        Box::pin(async move {
            let subscribed = async {
                let mut listener = client.get_async_pubsub().await?;
                listener.subscribe(channel).await?;
                Ok(listener)
            };
            let listener = match tokio::time::timeout(timeout, subscribed).await {
                Ok(subscribed) => subscribed.map_err(fault)?,
                Err(elapsed) => return Err(SharedFault(Box::new(elapsed))),
            };
            let mut news = listener.into_on_message();
            while let Some(message) = news.next().await {
                if let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) {
                    heard(text);
                }
            }
            Ok(())
        })
    }
}
