-- What `fyke stats` tells beside counts of rows: statements over the views of views.sql, in the order in which
-- fyke.journeys.stats names them.

-- flows
SELECT proto, source, source_port, destination, destination_port, packets, packets_back, bytes, drops
FROM connections
ORDER BY packets DESC, bytes DESC, first_ns, source, source_port, destination, destination_port
LIMIT 10;

-- paths
SELECT path, path_id, count(*) AS journeys, count(*) FILTER (WHERE dropped) AS dropped,
    CAST(avg(duration_ns) AS BIGINT) AS mean_duration_ns
FROM journeys
WHERE tracked
GROUP BY path, path_id
ORDER BY journeys DESC, path
LIMIT 10;

-- hops
SELECT from_symbol, to_symbol, count(*) AS hops,
    percentile_disc(0.5) WITHIN GROUP (ORDER BY delta_ns) AS p50_ns,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY delta_ns) AS p99_ns
FROM hops
GROUP BY from_symbol, to_symbol
ORDER BY hops DESC, from_symbol, to_symbol
LIMIT 20;

-- journeys
SELECT count(*) FILTER (WHERE tracked) AS tracked, count(*) FILTER (WHERE tracked AND dropped) AS dropped,
    count(*) FILTER (WHERE tracked AND lost > 0) AS maybe_incomplete
FROM journeys
