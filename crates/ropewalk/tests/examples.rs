//! The examples, driven under the simulated clock and network: each does what its head says it does.
#![allow(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

/// Includes the examples. Their mains are not run, and what only those need is not used.
macro_rules! examples {
    ($($path:literal $name:ident,)*) => {
        $(#[allow(dead_code, unreachable_pub, reason = "an example is a program, here it is a module")]
        #[path = $path]
        mod $name;)*
    };
}

examples! {
    "../examples/await_style.rs" await_style,
    "../examples/chat.rs" chat,
    "../examples/crawl.rs" crawl,
    "../examples/deferred_chain.rs" deferred_chain,
    "../examples/dialogue.rs" dialogue,
    "../examples/echo.rs" echo,
    "../examples/failures.rs" failures,
    "../examples/ftp_memory.rs" ftp_memory,
    "../examples/get_page.rs" get_page,
    "../examples/hello.rs" hello,
    "../examples/logging.rs" logging,
    "../examples/middleware.rs" middleware,
    "../examples/one_channel.rs" one_channel,
    "../examples/presence.rs" presence,
    "../examples/progress.rs" progress,
    "../examples/proxy.rs" proxy,
    "../examples/push_chat.rs" push_chat,
    "../examples/race.rs" race,
    "../examples/recovery.rs" recovery,
    "../examples/reconnect.rs" reconnect,
    "../examples/resource_tree.rs" resource_tree,
    "../examples/send_file.rs" send_file,
    "../examples/slow_handler.rs" slow_handler,
    "../examples/static_site.rs" static_site,
    "../examples/testing.rs" testing,
    "../examples/testing_site.rs" testing_site,
    "../examples/threads.rs" threads,
    "../examples/timer.rs" timer,
    "../examples/tornado_handlers.rs" tornado_handlers,
    "../examples/typed_routes.rs" typed_routes,
    "../examples/tls_echo.rs" tls_echo,
    "../examples/weblog/main.rs" weblog,
    "../examples/weblog_client.rs" weblog_client,
    "../examples/websocket_chat.rs" websocket_chat,
    "../examples/websocket_client.rs" websocket_client,
    "../examples/websocket_echo.rs" websocket_echo,
    "../examples/websub_blog/main.rs" websub_blog,
}

#[path = "examples_driven/deferreds.rs"]
mod deferreds;
#[path = "examples_driven/encrypted.rs"]
mod encrypted;
#[path = "examples_driven/failing.rs"]
mod failing;
#[path = "examples_driven/files.rs"]
mod files;
#[path = "examples_driven/getting.rs"]
mod getting;
#[path = "examples_driven/layers.rs"]
mod layers;
#[path = "examples_driven/logs.rs"]
mod logs;
#[path = "examples_driven/messages.rs"]
mod messages;
#[path = "examples_driven/protocols.rs"]
mod protocols;
#[path = "examples_driven/proxying.rs"]
mod proxying;
#[path = "examples_driven/pushing.rs"]
mod pushing;
#[path = "examples_driven/reconnecting.rs"]
mod reconnecting;
#[path = "examples_driven/support.rs"]
mod support;
#[path = "examples_driven/time.rs"]
mod time;
#[path = "examples_driven/ways.rs"]
mod ways;
#[path = "examples_driven/weblogs.rs"]
mod weblogs;
#[path = "examples_driven/websites.rs"]
mod websites;
#[path = "examples_driven/websockets.rs"]
mod websockets;
#[path = "examples_driven/websub.rs"]
mod websub;
