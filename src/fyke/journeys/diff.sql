-- What two recordings are compared by.

-- name: paths
SELECT path || CASE WHEN dropped THEN ' > drop ' || coalesce(drop_reason, '?') ELSE '' END AS path, count(*) AS count
FROM journeys
GROUP BY 1
ORDER BY count DESC, path;

-- name: hops
SELECT
    from_symbol,
    to_symbol,
    count(*) AS count,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY delta_ns) AS p50_ns,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY delta_ns) AS p99_ns
FROM hops
GROUP BY from_symbol, to_symbol
ORDER BY from_symbol, to_symbol;

-- name: lost
SELECT CAST(coalesce(sum(count), 0) AS BIGINT) AS count FROM losses
WHERE cause NOT IN ('tracking_full', 'stack_full')
