#include "ledger.h"

#include <stdlib.h>

#define ROOM_MIN 2

static struct utterance *at(const struct ledger *ledger, uint64_t index)
{
    return &ledger->ring[index & (ledger->room - 1)];
}

static void grow(struct ledger *ledger)
{
    struct ledger old = *ledger;

    ledger->room = old.room ? 2 * old.room : ROOM_MIN;
    ledger->ring = allocate(ledger->room, sizeof *ledger->ring);
    for (uint64_t index = old.oldest; index < old.next; index++) {
        *at(ledger, index) = *at(&old, index);
    }
    free(old.ring);
}

struct utterance *ledger_open(struct ledger *ledger)
{
    struct utterance *utterance;

    if (ledger->next - ledger->oldest == ledger->room) {
        grow(ledger);
    }
    utterance = at(ledger, ledger->next++);
    *utterance = (struct utterance) {.state = OPEN};
    ledger->open++;
    return utterance;
}

struct utterance *ledger_find(const struct ledger *ledger, uint64_t index)
{
    if (index < ledger->oldest || index >= ledger->next || at(ledger, index)->state == ANSWERED) {
        return NULL;
    }
    return at(ledger, index);
}

static bool is_earlier_open(const struct ledger *ledger, uint64_t index)
{
    for (uint64_t earlier = ledger->oldest; earlier < index; earlier++) {
        if (at(ledger, earlier)->state == OPEN) {
            return true;
        }
    }
    return false;
}

enum verdict ledger_answer(struct ledger *ledger, uint64_t index, bool is_error)
{
    struct utterance *utterance = ledger_find(ledger, index);
    enum verdict verdict = IN_ORDER;

    if (utterance == NULL) {
        return index < ledger->next ? REPEATED : NEVER_ASKED;
    }
    if (utterance->state == LOST) {
        verdict = LATE;
    } else {
        ledger->open--;
        if (!is_error && is_earlier_open(ledger, index)) {
            verdict = OUT_OF_ORDER;
        }
    }
    utterance->state = ANSWERED;
    while (ledger->oldest < ledger->next && at(ledger, ledger->oldest)->state == ANSWERED) {
        ledger->oldest++;
    }
    return verdict;
}

uint32_t ledger_give_up(struct ledger *ledger)
{
    uint32_t lost = ledger->open;

    for (uint64_t index = ledger->oldest; index < ledger->next; index++) {
        if (at(ledger, index)->state == OPEN) {
            at(ledger, index)->state = LOST;
        }
    }
    ledger->open = 0;
    return lost;
}
