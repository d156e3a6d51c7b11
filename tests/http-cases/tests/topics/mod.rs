//! One test for each topic, on one store.

/// `$store` is an async function that opens the store, and gives what has to live as long.
macro_rules! each_on {
    ($store:ident) => {
        $crate::topics::each_on!($store:
            replay "replay", payload "payload", key_header "key-header",
            requirement "requirement", refusals_told "refusals-told", bodies "bodies",
            headers "headers", statuses "statuses", streams "streams", limits "limits",
            scopes "scopes", in_progress "in-progress", outage "outage", lapses "lapses"
        );
    };
    ($store:ident: $($test:ident $topic:literal),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let (store, _kept) = $store().await;
                idemp_http_cases::run($topic, std::sync::Arc::new(store)).await;
            }
        )+

        #[test]
        fn every_topic_is_run() {
            assert_eq!([$($topic),+], idemp_http_cases::TOPICS);
        }
    };
}

pub(crate) use each_on;
