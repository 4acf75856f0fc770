-- Time between consecutive points of the journeys, by hop and by path. Statements are named by the comment before.

-- name: hops
SELECT
    from_symbol,
    to_symbol,
    count(*) AS count,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY delta_ns) AS p50_ns,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY delta_ns) AS p90_ns,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY delta_ns) AS p99_ns,
    max(delta_ns) AS max_ns,
    CAST(sum(delta_ns) AS BIGINT) AS total_ns,
    CAST(sum(CASE WHEN lost > 0 THEN 1 ELSE 0 END) AS BIGINT) AS uncertain
FROM hops
GROUP BY from_symbol, to_symbol
ORDER BY total_ns DESC, from_symbol, to_symbol;

-- name: paths
SELECT
    path,
    count(*) AS count,
    max(events) AS events,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ns) AS p50_ns,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY duration_ns) AS p90_ns,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ns) AS p99_ns,
    max(duration_ns) AS max_ns,
    CAST(sum(CASE WHEN lost > 0 THEN 1 ELSE 0 END) AS BIGINT) AS uncertain
FROM journeys
WHERE events > 1
GROUP BY path
ORDER BY count DESC, path;

-- name: slowest
SELECT
    slow.journey AS journey,
    slow.packet_id AS packet_id,
    slow.duration_ns AS duration_ns,
    slow.events AS events,
    slow.tuple AS tuple,
    slow.lost AS lost,
    hops.from_symbol AS from_symbol,
    hops.to_symbol AS to_symbol,
    hops.delta_ns AS delta_ns
FROM (SELECT * FROM journeys WHERE events > 1 ORDER BY duration_ns DESC, journey LIMIT {limit}) AS slow
JOIN (
    SELECT *, row_number() OVER (PARTITION BY journey ORDER BY delta_ns DESC, index) AS place FROM hops
) AS hops ON hops.journey = slow.journey AND hops.place = 1
ORDER BY slow.duration_ns DESC, slow.journey;

-- name: histogram
SELECT bucket, count(*) AS count
FROM (
    SELECT CASE WHEN duration_ns > 0 THEN CAST(floor(log2(duration_ns)) AS INTEGER) ELSE 0 END AS bucket
    FROM journeys
    WHERE events > 1
) AS placed
GROUP BY bucket
ORDER BY bucket
