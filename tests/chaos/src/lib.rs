//! Processes killed, servers restarted, connections cut: and nothing is lost or done twice.
