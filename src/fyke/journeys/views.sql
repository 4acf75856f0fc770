-- The views of a recording. What their columns mean is in fyke.journeys.views_columns (docs/views.md).
--
-- recorded: the rows of the event table (fyke.events.schema) with `number`, the place of the row in the recording,
-- `journey` filled as in a sorted file, `flow`, what fyke.journeys.tuples reads of the packet, and `file` and `host`,
-- the recording that the row is of. No journey is of two recordings.
--
-- Ordered lists are text made by string_agg: of the engines this runs on, not all keep an order in array_agg.
CREATE VIEW events AS
SELECT
    number,
    timestamp_ns,
    cpu,
    task.pid AS pid,
    task.tgid AS tgid,
    task.comm AS comm,
    coalesce(kernel.symbol, userspace.symbol) AS symbol,
    coalesce(kernel.probe_type, userspace.probe_type) AS probe_type,
    journey.id AS journey,
    journey.index AS index,
    journey.clone AS clone,
    journey.lost AS lost,
    lower(hex(coalesce(skb_tracking.timestamp_ns, timestamp_ns)))
        || lpad(lower(hex(skb_tracking.orig_head)), 16, '0') AS packet_id,
    lower(hex(skb_tracking.parent_timestamp_ns))
        || lpad(lower(hex(skb_tracking.parent_orig_head)), 16, '0') AS parent_id,
    flow.proto
        || ' ' || flow.saddr || coalesce('.' || CAST(flow.sport AS VARCHAR), '')
        || ' > ' || flow.daddr || coalesce('.' || CAST(flow.dport AS VARCHAR), '') AS tuple,
    file,
    host,
    flow,
    $sections -- the names of all that an event can have are put here by fyke.journeys.dialects
FROM recorded
WHERE gap IS NULL AND closing IS NULL;

CREATE VIEW hops AS
SELECT journey, index, from_symbol, to_symbol, from_ns, to_ns, to_ns - from_ns AS delta_ns, from_dev, to_dev,
    from_netns, to_netns, from_cpu, to_cpu, from_clone, to_clone, lost, file, host
FROM (
    SELECT
        journey,
        index,
        lag(symbol) OVER along AS from_symbol,
        symbol AS to_symbol,
        lag(timestamp_ns) OVER along AS from_ns,
        timestamp_ns AS to_ns,
        lag(dev.name) OVER along AS from_dev,
        dev.name AS to_dev,
        lag(netns.inum) OVER along AS from_netns,
        netns.inum AS to_netns,
        lag(cpu) OVER along AS from_cpu,
        cpu AS to_cpu,
        lag(clone) OVER along AS from_clone,
        clone AS to_clone,
        lost,
        file,
        host
    FROM events
    WINDOW along AS (PARTITION BY journey ORDER BY index)
) AS pairs
WHERE from_ns IS NOT NULL;

CREATE VIEW journeys AS
SELECT
    journey,
    packet_id,
    parent_id,
    tracked,
    start_ns,
    end_ns,
    end_ns - start_ns AS duration_ns,
    events,
    clones,
    path,
    left(md5(path), 12) AS path_id,
    netns,
    devices,
    tuple,
    drops > 0 AS dropped,
    drop_reason,
    drop_symbol,
    lost,
    file,
    host
FROM (
    SELECT
        journey,
        min(packet_id) AS packet_id,
        min(parent_id) AS parent_id,
        count(packet_id) > 0 AS tracked,
        min(timestamp_ns) AS start_ns,
        max(timestamp_ns) AS end_ns,
        count(*) AS events,
        CAST(max(clone) AS BIGINT) + 1 AS clones,
        string_agg(coalesce(symbol, '?'), ' > ' ORDER BY index) AS path,
        string_agg(CAST(netns.inum AS VARCHAR), ' > ' ORDER BY index) FILTER (WHERE in_netns = 1) AS netns,
        string_agg(dev.name, ' > ' ORDER BY index) FILTER (WHERE on_dev = 1) AS devices,
        min_by(tuple, index) FILTER (WHERE tuple IS NOT NULL) AS tuple,
        count(skb_drop) AS drops,
        min_by(coalesce(skb_drop.subsys || '/', '') || skb_drop.drop_reason, index)
            FILTER (WHERE skb_drop.drop_reason IS NOT NULL) AS drop_reason,
        min_by(before, index) FILTER (WHERE skb_drop IS NOT NULL) AS drop_symbol,
        max(lost) AS lost,
        any_value(file) AS file,
        any_value(host) AS host
    FROM (
        SELECT
            *,
            row_number() OVER (PARTITION BY journey, netns.inum ORDER BY index) AS in_netns,
            row_number() OVER (PARTITION BY journey, dev.name ORDER BY index) AS on_dev,
            coalesce(lag(symbol) OVER (PARTITION BY journey ORDER BY index), symbol) AS before
        FROM events
    ) AS placed
    GROUP BY journey
) AS packets;

CREATE VIEW drops AS
SELECT
    number,
    timestamp_ns,
    cpu,
    journey,
    index,
    skb_drop.drop_reason AS reason,
    skb_drop.subsys AS subsystem,
    symbol,
    before AS after_symbol,
    CASE WHEN skb_drop.drop_reason = 'NETFILTER_DROP' THEN last_rule END AS rule,
    dev.name AS dev,
    netns.inum AS netns,
    tuple,
    flow,
    packet_id,
    file,
    host
FROM (
    SELECT
        *,
        lag(symbol) OVER (PARTITION BY journey ORDER BY index) AS before,
        last_value(dropping IGNORE NULLS) OVER (PARTITION BY journey ORDER BY index) AS last_rule
    FROM (
        SELECT
            *,
            CASE WHEN nft.verdict = 'drop' THEN
                nft.table_name || ' ' || nft.chain_name
                    || coalesce(': ' || nft.rule, ' handle ' || CAST(nft.rule_handle AS VARCHAR), ' policy')
            END AS dropping
        FROM events
    ) AS ruled
) AS placed
WHERE skb_drop IS NOT NULL;

CREATE VIEW connections AS
SELECT
    proto,
    min_by(saddr, number) AS source,
    min_by(sport, number) AS source_port,
    min_by(daddr, number) AS destination,
    min_by(dport, number) AS destination_port,
    count(*) AS packets,
    CAST(sum(bytes) AS BIGINT) AS bytes,
    count(*) FILTER (WHERE turned <> opened_turned) AS packets_back,
    CAST(coalesce(sum(bytes) FILTER (WHERE turned <> opened_turned), 0) AS BIGINT) AS bytes_back,
    CAST(sum(events) AS BIGINT) AS events,
    min(first_ns) AS first_ns,
    max(last_ns) AS last_ns,
    CAST(sum(drops) AS BIGINT) AS drops,
    max(lost) AS lost,
    string_agg(file, ', ' ORDER BY number) FILTER (WHERE in_file = 1) AS files
FROM (
    SELECT
        *,
        first_value(turned) OVER (PARTITION BY proto, low, low_port, high, high_port ORDER BY number) AS opened_turned,
        row_number() OVER (PARTITION BY proto, low, low_port, high, high_port, file ORDER BY number) AS in_file
    FROM (
        SELECT
            journey, proto, saddr, sport, daddr, dport, turned, low, low_port, high, high_port,
            min(number) AS number,
            min_by(len, index) AS bytes,
            count(*) AS events,
            min(timestamp_ns) AS first_ns,
            max(timestamp_ns) AS last_ns,
            count(skb_drop) AS drops,
            max(lost) AS lost,
            any_value(file) AS file
        FROM (
            SELECT
                *,
                CASE WHEN turned THEN daddr ELSE saddr END AS low,
                CASE WHEN turned THEN dport ELSE sport END AS low_port,
                CASE WHEN turned THEN saddr ELSE daddr END AS high,
                CASE WHEN turned THEN sport ELSE dport END AS high_port
            FROM (
                SELECT journey, index, number, timestamp_ns, skb_drop, lost, file, packet.len AS len,
                    flow.proto AS proto, flow.saddr AS saddr, flow.sport AS sport,
                    flow.daddr AS daddr, flow.dport AS dport,
                    flow.saddr > flow.daddr
                        OR (flow.saddr = flow.daddr AND coalesce(flow.sport, 0) > coalesce(flow.dport, 0)) AS turned
                FROM events
                WHERE flow.proto IS NOT NULL
            ) AS directed
        ) AS keyed
        GROUP BY journey, proto, saddr, sport, daddr, dport, turned, low, low_port, high, high_port
    ) AS packets
) AS opened
GROUP BY proto, low, low_port, high, high_port;

CREATE VIEW losses AS
SELECT timestamp_ns AS until_ns, coalesce(gap.since_ns, timestamp_ns) AS since_ns, cpu, gap.cause AS cause,
    gap.count AS count, file, host
FROM recorded
WHERE gap IS NOT NULL;
