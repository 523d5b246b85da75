//! How a suite is made from its tests.

/// Makes a macro that runs each test of a module on an adapter. A test that the list lacks is dead code, and so a warning.
///
/// The first argument is `($)`: the macro that is made has a parameter, whose name begins with that character.
macro_rules! suite {
    (($d:tt) $(#[$doc:meta])* $suite:ident of $module:ident { $($test:ident)+ }) => {
        /// The tests of the suite.
        #[doc(hidden)]
        pub mod $suite {
            $( pub use crate::$module::$test; )+
        }

        $(#[$doc])*
        #[macro_export]
        macro_rules! $suite {
            ($d open:path) => {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $test() {
                        $crate::$suite::$test($d open).await;
                    }
                )+
            };
        }
    };
}
pub(crate) use suite;
