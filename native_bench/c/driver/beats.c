#include "driver.h"

/* When the next of `count` peers in turn is due, so that each is once an interval. */
static int64_t due_ns(const struct driver *driver, uint64_t beats, uint32_t count)
{
    double gap_ns;

    if (count == 0 || driver->options.relay) {
        return INT64_MAX;
    }
    gap_ns = driver->options.heartbeat_seconds * NS_PER_SECOND / count;
    return driver->beats_from_ns + (int64_t) (gap_ns * (double) beats);
}

static int64_t node_due_ns(const struct driver *driver)
{
    return due_ns(driver, driver->node_beats, driver->options.nodes);
}

static int64_t session_due_ns(const struct driver *driver)
{
    uint32_t count = driver->options.session_heartbeats ? driver->options.sessions : 0;

    return due_ns(driver, driver->session_beats, count);
}

void beats_run(struct driver *driver, int64_t now)
{
    while (node_due_ns(driver) <= now) {
        node_beat(driver, &driver->nodes[driver->node_beats++ % driver->options.nodes]);
    }
    while (session_due_ns(driver) <= now) {
        session_beat(driver, &driver->sessions[driver->session_beats++ % driver->options.sessions]);
    }
}

int64_t beats_next_ns(const struct driver *driver)
{
    int64_t node_ns = node_due_ns(driver);
    int64_t session_ns = session_due_ns(driver);

    return node_ns < session_ns ? node_ns : session_ns;
}
