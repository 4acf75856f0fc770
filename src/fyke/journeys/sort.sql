-- Which journey each row belongs to, its place in it, and the order of the whole file.
--
-- events: the event table (fyke.events.schema: timestamp_ns, cpu, skb_tracking, gap, closing), `row`, the number of
-- the row in the file, and `chosen`: a journey without any chosen event is left out. Rows with a gap or closing
-- section are notes, not events; they stay.
--
-- A journey is the events of one tracking id. An event without id is a journey of its own. Journeys are ordered by
-- time of first sight of their packet, untracked events before packets first seen at the same time, these by
-- address; events in a journey by time, then as in the file. Notes stand where an untracked event would, the
-- note of the end last, and belong to no journey.
WITH kept AS MATERIALIZED (
    SELECT
        row,
        chosen OR is_gap OR is_end AS chosen,
        timestamp_ns,
        cpu,
        is_gap,
        is_end,
        since_ns,
        lost,
        nullif(packet.skb, 0) AS skb, -- 0: where XDP sees a packet there is none yet
        coalesce(packet.timestamp_ns, timestamp_ns) AS start_ns,
        -- two columns tell journeys of one start apart: -1 is no row, address 0 no packet's
        coalesce(packet.orig_head, 0) AS head,
        CASE WHEN packet.orig_head IS NULL THEN row ELSE -1 END AS alone
    FROM (
        SELECT
            row,
            chosen,
            timestamp_ns,
            cpu,
            gap IS NOT NULL AS is_gap,
            closing IS NOT NULL AS is_end,
            coalesce(gap.since_ns, timestamp_ns) AS since_ns,
            -- a packet that could not be tracked and a stack that was not kept are no lost events
            CASE WHEN gap.cause IN ('tracking_full', 'stack_full') THEN 0 ELSE gap.count END AS lost,
            CASE WHEN gap IS NULL AND closing IS NULL THEN skb_tracking END AS packet
        FROM events
    )
),
journeys AS MATERIALIZED (
    SELECT
        start_ns,
        head,
        alone,
        min(timestamp_ns) AS first_ns,
        max(timestamp_ns) AS last_ns,
        NOT bool_or(is_gap OR is_end) AS counted,
        row_number() OVER (ORDER BY bool_or(is_end), start_ns, alone < 0, head, alone) AS place
    FROM kept
    GROUP BY start_ns, head, alone
    HAVING bool_or(chosen)
),
numbered AS (
    SELECT
        *,
        CASE WHEN counted THEN (sum(counted::INTEGER) OVER (ORDER BY place) - 1)::UBIGINT END AS id
    FROM journeys
),
placed AS MATERIALIZED (
    SELECT
        kept.row, kept.timestamp_ns, kept.cpu, kept.skb, is_gap, since_ns, kept.lost, place, id, first_ns, last_ns,
        row_number() OVER (PARTITION BY place ORDER BY kept.timestamp_ns, kept.row) - 1 AS index
    FROM kept JOIN numbered USING (start_ns, head, alone)
),
-- The clones of a packet in order of first sight; the first one needs no row.
clones AS (
    SELECT place, skb, clone
    FROM (
        SELECT place, skb, row_number() OVER (PARTITION BY place ORDER BY min(index)) - 1 AS clone
        FROM placed
        WHERE skb IS NOT NULL
        GROUP BY place, skb
    )
    WHERE clone > 0
),
-- Gaps that a journey may have lost events in: on a CPU on which it was seen, while it was seen.
losses AS (
    SELECT place, sum(lost) AS lost
    FROM (
        SELECT DISTINCT seen.place, gap.row, gap.lost
        FROM (SELECT DISTINCT place, cpu, first_ns, last_ns FROM placed WHERE id IS NOT NULL) AS seen
        JOIN (SELECT * FROM placed WHERE is_gap AND lost > 0) AS gap
            ON coalesce(gap.cpu = seen.cpu, true)
            AND gap.timestamp_ns >= seen.first_ns
            AND gap.since_ns <= seen.last_ns
    )
    GROUP BY place
)
SELECT
    row,
    id,
    index::UINTEGER AS index,
    coalesce(clone, 0)::UINTEGER AS clone,
    least(coalesce(losses.lost, 0), 18446744073709551615)::UBIGINT AS lost
FROM placed
LEFT JOIN clones USING (place, skb)
LEFT JOIN losses USING (place)
ORDER BY place, index
