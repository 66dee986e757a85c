//! WebSub (W3C Recommendation, 2018): hub, publisher and subscriber over connections that are kept and re-used.
#![forbid(unsafe_code)]
