"""What live tests are made of: topologies of network namespaces, traffic, second sources."""
