#include "driver.h"

#include <math.h>

/* Utterances sent before sockets are looked at again. */
#define SENDS_MAX 64

static void speak_next(struct driver *driver, int64_t planned_ns)
{
    struct session *session = &driver->sessions[driver->next_session];

    driver->next_session = (driver->next_session + 1) % driver->options.sessions;
    session_speak(driver, session, planned_ns);
}

void load_begin(struct driver *driver, int64_t now)
{
    bool closed_loop = driver->options.rate == 0;

    driver->speaking = closed_loop;
    driver->to_start =
        closed_loop ? (uint64_t) driver->options.sessions * driver->options.window : 0;
    driver->planned_ns = now;
}

/* Arrivals of the open loop are those of many who know nothing of each other (Poisson). */
void load_run(struct driver *driver, int64_t now)
{
    for (int sent = 0; sent < SENDS_MAX && load_next_ns(driver) <= now; sent++) {
        if (driver->options.rate == 0) {
            driver->to_start--;
            speak_next(driver, now_ns());
        } else {
            double gap_seconds = -log1p(-random_unit(&driver->random)) / driver->options.rate;

            speak_next(driver, driver->planned_ns);
            driver->planned_ns += (int64_t) (gap_seconds * NS_PER_SECOND);
        }
    }
}

int64_t load_next_ns(const struct driver *driver)
{
    if (driver->options.rate > 0) {
        return driver->planned_ns;
    }
    return driver->to_start > 0 ? 0 : INT64_MAX;
}
