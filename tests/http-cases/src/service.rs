//! The service of a case: axum, the layer, and the handler behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, map_request};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use idemp::http::{Disposition, HeaderFilter, Methods, StatusTable};
use idemp::{Fingerprint, Idempotency, Lapse, Policy, Scope};
use idemp_tower::{IdempotencyLayer, Profile, ScopeError, Strictness};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::case::{self, Case, FingerprintOf, OnLapse, PolicySpans, Route, ScopeOf, latin1};
use crate::handler::Handler;
use crate::stage::Stage;

/// A running service; dropped, it stops at once.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// How many requests have come.
    pub(crate) arrived: watch::Receiver<usize>,
    /// How many of them are answered, or were given up since their clients were gone.
    pub(crate) ended: watch::Receiver<usize>,
    running: JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start(case: &Case, stage: Stage, handler: Arc<Handler>) -> Self {
        let idem = Idempotency::builder(stage).policy(policy(&case.policy));
        let idem = idem.build();
        let mut router = Router::new();
        for (path, route) in &case.routes {
            let mut service = scripted(handler.clone());
            if let Some(route) = route {
                service = service.layer(layer(&idem, route));
            }
            router = match path.as_str() {
                "*" => router.fallback_service(service),
                path => router.route(path, service),
            };
        }
        let (come, arrived) = watch::channel(0);
        let (end, ended) = watch::channel(0);
        let router = outside(router, &case.outer)
            .layer(map_request(authenticated))
            .layer(from_fn(move |request: Request, next: Next| {
                let ends = Ends(end.clone());
                come.send_modify(|arrived| *arrived += 1);
                async move {
                    let _ends = ends;
                    next.run(request).await
                }
            }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let running = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            arrived,
            ended,
            running,
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Tells that a request is at its end, one way or the other.
struct Ends(watch::Sender<usize>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

fn scripted(handler: Arc<Handler>) -> MethodRouter {
    any(move |request: Request| handler.clone().handle(request))
}

/// Who asks, as a layer that authenticates would have found out.
#[derive(Clone)]
struct User(String);

async fn authenticated(mut request: Request<Body>) -> Request<Body> {
    let user = request.headers().get("x-user");
    if let Some(user) = user.map(|user| user.to_str().expect("printable").to_owned()) {
        request.extensions_mut().insert(User(user));
    }
    request
}

fn outside(router: Router, headers: &[(String, String)]) -> Router {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (
                name,
                HeaderValue::from_bytes(&latin1(value)).expect("a value"),
            )
        })
        .collect();
    router.layer(axum::middleware::map_response(
        move |mut response: Response| {
            for (name, value) in &headers {
                response.headers_mut().insert(name, value.clone());
            }
            async { response }
        },
    ))
}

fn policy(spans: &PolicySpans) -> Policy {
    let span = Duration::from_millis;
    let mut policy = Policy::replay(spans.retention.map_or(Policy::DEFAULT_RETENTION, span));
    if let Some(lease) = spans.lease {
        policy = policy.lease(span(lease));
    }
    if let Some(tombstone) = spans.tombstone {
        policy = policy.tombstone(span(tombstone));
    }
    let lapse = match spans.on_lapse {
        OnLapse::Takeover => Lapse::Takeover,
        OnLapse::Fence => Lapse::Fence,
    };
    policy.on_lapse(lapse).build().expect("a policy")
}

fn layer(idem: &Idempotency<Stage>, route: &Route) -> IdempotencyLayer<Stage> {
    let idem = idem.clone();
    let mut layer = match &route.scope {
        ScopeOf::Named(name) if name == "unscoped" => IdempotencyLayer::unscoped(idem),
        scope => {
            let scope = scope.clone();
            IdempotencyLayer::new(idem, move |request| scope_of(&scope, request))
        }
    };
    if route.required {
        layer = layer.required();
    }
    if let Some(methods) = &route.methods {
        layer = layer.methods(Methods::new(methods).expect("methods"));
    }
    let allow = |filter: HeaderFilter, name: &String| filter.allow(name).expect("a header");
    layer = layer
        .headers(route.headers.iter().fold(HeaderFilter::default(), allow))
        .statuses(statuses(&route.statuses))
        .profile(match route.profile {
            case::Profile::Default => Profile::Default,
            case::Profile::Ietf => Profile::Ietf,
        })
        .strictness(match route.strict {
            true => Strictness::Strict,
            false => Strictness::Lenient,
        });
    if let Some(bytes) = route.body_limit {
        layer = layer.body_limit(bytes);
    }
    if let Some(bytes) = route.response_limit {
        layer = layer.response_limit(bytes);
    }
    if let Some(span) = route.stream_after {
        layer = layer.stream_after(Duration::from_millis(span));
    }
    if let Some(span) = route.store_timeout {
        layer = layer.store_timeout(Duration::from_millis(span));
    }
    if let Some(owners) = route.max_owners {
        layer = layer.max_owners(owners);
    }
    if route.fail_open {
        layer = layer.fail_open();
    }
    match route.fingerprint {
        None => layer,
        Some(FingerprintOf::Constant) => {
            layer.fingerprint(|_, _| Fingerprint::from_parts(1, [7; 32]))
        }
        // Without the words of the panic hook.
        Some(FingerprintOf::Throws) => {
            layer.fingerprint(|_, _| std::panic::resume_unwind(Box::new("no fingerprint")))
        }
    }
}

fn scope_of(scope: &ScopeOf, request: &Parts) -> Result<Scope, ScopeError> {
    let user = || {
        let user = request.extensions.get::<User>();
        Ok(user.ok_or(ScopeError::Unauthenticated)?.0.as_str())
    };
    let part = |name: &String| match name.as_str() {
        "user" => user(),
        "tenant" => {
            let tenant = request.headers.get("x-tenant");
            let tenant = tenant.and_then(|tenant| tenant.to_str().ok());
            tenant.ok_or(ScopeError::Missing)
        }
        "method" => Ok(request.method.as_str()),
        "path" => Ok(request.uri.path()),
        other => panic!("{other} is no part of a scope"),
    };
    match scope {
        ScopeOf::Parts(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(part).collect();
            Ok(Scope::new(parts?)?)
        }
        ScopeOf::Named(name) => match name.as_str() {
            "user" => Ok(Scope::new([user()?])?),
            "missing" => Err(ScopeError::Missing),
            "malformed" => Ok(Scope::new(["ada", ""])?),
            "throws" => std::panic::resume_unwind(Box::new("no scope")),
            other => panic!("{other} is no scope"),
        },
    }
}

fn statuses(statuses: &case::Statuses) -> StatusTable {
    let disposition = |disposition: &case::Disposition| match disposition {
        case::Disposition::Remember => Disposition::Remember,
        case::Disposition::Release => Disposition::Release,
        case::Disposition::Forget => Disposition::Forget,
        case::Disposition::Fence => Disposition::Fence,
    };
    let mut table = StatusTable::builder();
    for (class, what) in &statuses.classes {
        table = table.class(*class, disposition(what));
    }
    for (status, what) in &statuses.statuses {
        table = table.status(*status, disposition(what));
    }
    if let Some(what) = &statuses.thrown {
        table = table.throws(disposition(what));
    }
    table.build().expect("a table")
}
