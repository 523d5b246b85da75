//! Finds the route of a request.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::{HeaderValue, Method};
use ferrohub_core::{Caller, DeviceCaller, Operation, ServiceCaller};
use ferrohub_model::IdentityId;
use matchit::{Params, Router};

use super::RestResult;
use super::described::Described;
use super::error::ErrorFormat;
use super::request::RestRequest;
use super::table::ROUTES;

/// The maximum number of parameters in a path.
const MAX_PARAMETERS: usize = 3;

/// The HTTP methods of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Verb {
    const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Post, Self::Patch, Self::Delete];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn of(method: &Method) -> Option<Self> {
        Some(match *method {
            // A response to HEAD has the headers of one to GET (RFC 9110, 9.3.2).
            Method::GET | Method::HEAD => Self::Get,
            Method::PUT => Self::Put,
            Method::POST => Self::Post,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }
}

pub(super) type HandlerFuture = std::pin::Pin<Box<dyn Future<Output = RestResult> + Send>>;

/// What serves a route, by who may send its requests.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Service(fn(ServiceCaller, RestRequest) -> HandlerFuture),
    /// The device or module that the path names.
    Device(fn(DeviceCaller, RestRequest) -> HandlerFuture),
    /// A service, or the device or module that `claimed` finds in the request.
    ServiceOrDevice {
        serve: fn(Caller, RestRequest) -> HandlerFuture,
        claimed: fn(&RestRequest) -> Option<IdentityId>,
    },
}

/// A row of the table: one operation and the requests for it.
pub(crate) struct Route {
    pub(super) operation: Operation,
    pub(super) verb: Verb,
    /// The paths, which differ in capitalisation or name a device or a module. The first is the documented one.
    pub(super) paths: &'static [&'static str],
    pub(super) handler: Handler,
    pub(super) errors: ErrorFormat,
    /// Whether requests have a query parameter `api-version`, which the hub checks.
    pub(super) versioned: bool,
    /// What only the description of the API uses.
    pub(super) described: Described,
}

/// The routes of one path.
#[derive(Default)]
struct PathRoutes([Option<&'static Route>; Verb::ALL.len()]);

/// All routes by path. A path without parameters may also be one with parameters: `/devices/query` may be the device
/// `query`. Its own verbs take precedence.
#[derive(Default)]
struct Paths {
    without_parameters: HashMap<&'static str, PathRoutes>,
    with_parameters: Router<PathRoutes>,
}

impl PathRoutes {
    fn get(&self, verb: Verb) -> Option<&'static Route> {
        self.0.get(verb as usize).copied().flatten()
    }
}

/// Where the parameters of a path are in it: name, start and end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PathParameters([Option<(&'static str, usize, usize)>; MAX_PARAMETERS]);

impl PathParameters {
    fn new(path: &str, params: &Params<'static, '_>) -> Self {
        let mut parameters = Self::default();
        for (slot, (name, value)) in parameters.0.iter_mut().zip(params.iter()) {
            *slot = Some(Self::locate(path, name, value));
        }
        parameters
    }

    /// Returns the entry of a value, which is a slice of the path.
    fn locate(path: &str, name: &'static str, value: &str) -> (&'static str, usize, usize) {
        let start = value.as_ptr().addr().saturating_sub(path.as_ptr().addr());
        (name, start, start + value.len())
    }

    /// Returns a parameter, still percent-encoded.
    pub(super) fn get<'a>(&self, path: &'a str, name: &str) -> Option<&'a str> {
        let (_, start, end) = self.0.iter().flatten().find(|(key, ..)| *key == name)?;
        path.get(*start..*end)
    }
}

/// The result of [`find`].
pub(crate) enum Found {
    Route(&'static Route, PathParameters),
    /// The path exists, but not with this method. The value is for the header `Allow`.
    MethodNotAllowed(HeaderValue),
}

impl Found {
    /// Returns the operation of the route.
    pub(crate) fn operation(&self) -> Option<Operation> {
        match self {
            Self::Route(route, _) => Some(route.operation),
            Self::MethodNotAllowed(_) => None,
        }
    }
}

static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let mut by_path: Vec<(&'static str, PathRoutes)> = Vec::new();
    for route in ROUTES {
        for path in route.paths {
            let index = by_path.iter().position(|(known, _)| known == path).unwrap_or_else(|| {
                by_path.push((path, PathRoutes::default()));
                by_path.len() - 1
            });
            if let Some((_, routes)) = by_path.get_mut(index)
                && let Some(slot) = routes.0.get_mut(route.verb as usize)
            {
                *slot = Some(route);
            }
        }
    }
    let mut paths = Paths::default();
    for (path, routes) in by_path {
        if path.contains('{') {
            // A test checks that no two paths are in conflict.
            let _ = paths.with_parameters.insert(path, routes);
        } else {
            paths.without_parameters.insert(path, routes);
        }
    }
    paths
});

static METHOD_ROUTE: LazyLock<Option<&'static Route>> =
    LazyLock::new(|| ROUTES.iter().find(|route| route.operation == Operation::InvokeMethod));

/// Finds the route of a method call to a device. Does the same as the router, in fewer instructions: there may be thousands
/// of these calls per second.
fn find_method_call(method: &Method, path: &str) -> Option<Found> {
    let device = path.strip_prefix("/twins/")?.strip_suffix("/methods")?;
    if method != Method::POST || device.is_empty() || device.contains('/') {
        return None;
    }
    let parameters = PathParameters([Some(PathParameters::locate(path, "id", device)), None, None]);
    Some(Found::Route((*METHOD_ROUTE)?, parameters))
}

/// Returns the route of a request, or `None` if there is no such path.
pub(crate) fn find(method: &Method, path: &str) -> Option<Found> {
    find_method_call(method, path).or_else(|| find_in_router(method, path))
}

fn find_in_router(method: &Method, path: &str) -> Option<Found> {
    let exact = PATHS.without_parameters.get(path);
    let found = PATHS.with_parameters.at(path).ok();
    let verb = Verb::of(method);
    if let Some(route) = exact.and_then(|routes| routes.get(verb?)) {
        return Some(Found::Route(route, PathParameters::default()));
    }
    match found.as_ref().and_then(|found| Some((found.value.get(verb?)?, &found.params))) {
        Some((route, params)) => Some(Found::Route(route, PathParameters::new(path, params))),
        None if exact.is_none() && found.is_none() => None,
        None => {
            let all = [exact, found.map(|found| found.value)];
            let has = |verb: &&Verb| all.iter().flatten().any(|routes| routes.get(**verb).is_some());
            let verbs = Verb::ALL.iter().filter(has);
            let names: Vec<&str> = verbs
                .flat_map(|verb| match verb {
                    Verb::Get => ["GET", "HEAD"].as_slice(),
                    Verb::Put => &["PUT"],
                    Verb::Post => &["POST"],
                    Verb::Patch => &["PATCH"],
                    Verb::Delete => &["DELETE"],
                })
                .copied()
                .collect();
            let allow = HeaderValue::from_str(&names.join(","));
            Some(Found::MethodNotAllowed(allow.unwrap_or(HeaderValue::from_static(""))))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_path_of_the_table_is_found_with_its_verb() {
        let mut operations = HashSet::new();
        for route in ROUTES {
            assert!(operations.insert(route.operation), "{:?} has two rows", route.operation);
            for path in route.paths {
                let path = path.replace("{*file}", "d/f").replace(['{', '}'], "");
                let method = Method::from_bytes(route.verb.name().as_bytes()).unwrap();
                let Some(Found::Route(found, _)) = find(&method, &path) else { panic!("{path}") };
                assert_eq!(found.operation, route.operation, "{path}");
            }
        }
    }

    #[test]
    fn every_path_of_the_table_is_in_the_router() {
        let mut router = Router::new();
        let paths: HashSet<&str> = ROUTES.iter().flat_map(|route| route.paths).copied().collect();
        for path in paths {
            router.insert(path, ()).unwrap();
            let parameters = path.matches('{').count();
            assert!(parameters <= MAX_PARAMETERS, "{path}");
        }
    }

    #[test]
    fn another_method_is_answered_with_those_of_the_path() {
        let allowed = |method, path| match find(&method, path) {
            Some(Found::MethodNotAllowed(allow)) => Some(allow.to_str().unwrap().to_owned()),
            _ => None,
        };
        assert_eq!(allowed(Method::POST, "/devices/d").as_deref(), Some("GET,HEAD,PUT,DELETE"));
        assert_eq!(allowed(Method::OPTIONS, "/twins/d/methods").as_deref(), Some("POST"));
        assert_eq!(allowed(Method::HEAD, "/devices/d"), None);
        // A device may have the name of another path.
        let operation = |method| find(&method, "/devices/query").and_then(|found| found.operation());
        assert_eq!(operation(Method::POST), Some(Operation::QueryTwins));
        assert_eq!(operation(Method::GET), Some(Operation::GetDevice));
        assert_eq!(allowed(Method::PATCH, "/devices/query").as_deref(), Some("GET,HEAD,PUT,POST,DELETE"));
        assert!(find(&Method::GET, "/nothing").is_none());
        assert!(find(&Method::GET, "/twins/d/x/m").is_none());
    }

    #[test]
    fn the_parameters_are_found_in_the_path() {
        let parameters = |path: &'static str| match find(&Method::POST, path) {
            Some(Found::Route(_, parameters)) => {
                Some(["id", "module", "token"].map(|name| parameters.get(path, name)))
            }
            _ => None,
        };
        assert_eq!(parameters("/twins/d1/methods"), Some([Some("d1"), None, None]));
        assert_eq!(parameters("/twins/d%231/modules/m/methods"), Some([Some("d%231"), Some("m"), None]));
        assert_eq!(
            parameters("/devices/d/modules/d/messages/deviceBound/t/abandon"),
            Some([Some("d"), Some("d"), Some("t")])
        );
        for other in ["/twins/d1", "/twins/d/x/m/methods", "/twins/d/modules/m/n/methods"] {
            assert_eq!(parameters(other), None, "{other}");
        }
    }

    #[test]
    fn a_method_call_is_found_as_the_router_finds_it() {
        let route = |found| match found {
            Some(Found::Route(route, parameters)) => Some((route.operation, parameters)),
            _ => None,
        };
        for path in ["/twins/d/methods", "/twins/%20/methods"] {
            let found = route(find_method_call(&Method::POST, path));
            assert!(found.is_some() && found == route(find_in_router(&Method::POST, path)), "{path}");
        }
        for other in ["/twins//methods", "/twins/methods", "/twins/d/modules/m/methods", "/twins/d/methods/"]
        {
            assert!(find_method_call(&Method::POST, other).is_none(), "{other}");
        }
        assert!(find_method_call(&Method::PUT, "/twins/d/methods").is_none());
    }
}
