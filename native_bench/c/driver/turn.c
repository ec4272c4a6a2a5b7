#include "driver.h"

#include <errno.h>
#include <sys/epoll.h>

/* Few at a time, so that what is due is not late for what has come. */
#define EVENTS_MAX 64

static void run_timers(struct driver *driver)
{
    struct timer timer;

    while (timers_take(&driver->timers, now_ns(), &timer)) {
        switch (timer.kind) {
        case TIMER_RESULT:
            node_send_due(driver, &timer);
            break;
        case TIMER_SPEAK:
            if (driver->speaking) {
                session_speak(driver, &driver->sessions[timer.session], now_ns());
            }
            break;
        }
    }
}

static int wait_events(const struct driver *driver, int64_t until_ns, struct epoll_event *events)
{
    int64_t due_ns = timers_next_ns(&driver->timers);
    int64_t beat_ns = beats_next_ns(driver);
    int64_t wait_ns;
    struct timespec timeout;
    int count;

    due_ns = beat_ns < due_ns ? beat_ns : due_ns;
    due_ns = until_ns < due_ns ? until_ns : due_ns;
    wait_ns = due_ns - now_ns();
    wait_ns = wait_ns > 0 ? wait_ns : 0;
    timeout = (struct timespec) {wait_ns / NS_PER_SECOND, wait_ns % NS_PER_SECOND};
    count = epoll_pwait2(driver->epoll, events, EVENTS_MAX, &timeout, NULL);
    if (count < 0 && errno != EINTR) {
        die_errno("epoll_pwait2");
    }
    return count;
}

bool turn(struct driver *driver, int64_t until_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int count = wait_events(driver, until_ns, events);
    bool input = false;

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) {
            input = true;
        } else {
            wire_take_event(driver, events[i].data.ptr, events[i].events);
        }
    }
    run_timers(driver);
    beats_run(driver, now_ns());
    return input;
}
