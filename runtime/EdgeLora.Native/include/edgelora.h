/*
 * edgelora.h - EdgeLora from C: one frozen base model under a tree of LoRA adapters, in an application's own loop.
 *
 *     edgelora_open_options options = { sizeof options, 0, "adapters/nano" };
 *     edgelora_host host;
 *     if (edgelora_open(&options, &host) != EDGELORA_OK) { puts(edgelora_last_error()); return 1; }
 *     edgelora_session session;
 *     edgelora_session_open(host, "shakespeare/kings", NULL, &session);
 *     edgelora_generate(session, "<|endoftext|>Once upon a time", NULL);
 *     for (int32_t finished = 0; !finished;) {
 *         char text[256]; size_t length;
 *         edgelora_tick(host, 2000, NULL);
 *         edgelora_session_read(session, text, sizeof text, &length, &finished, NULL);
 *         fputs(text, stdout);
 *     }
 *     edgelora_close(host);
 *
 * Results    Every function that can fail returns EDGELORA_OK or an EDGELORA_ERROR_*; edgelora_last_error() then says
 *            what, what was expected and what was found. Nothing is thrown, nothing aborts.
 * Handles    Numbers. One that was closed, or never was one, is EDGELORA_ERROR_HANDLE for ever: numbers are not given twice
 *            before a place was used 16,777,215 times. 0 is no handle.
 * Texts      UTF-8. What goes in ends with a zero and is copied. A const char * that comes out belongs to the library and
 *            is good until the same thread calls the same function again, or ends.
 * Structs    Their first field is their size, set by the caller to sizeof: a library of another version then refuses them.
 *            Fields that are 0 leave the defaults, so clear the rest.
 * Threads    Every function may be called from any thread at any time, edgelora_close too: calls that are inside others end
 *            first, or with EDGELORA_ERROR_HANDLE. One thread at a time ticks a host; a second gets EDGELORA_ERROR_STATE.
 * Who ticks  Either the application calls edgelora_tick (a frame loop), or edgelora_run starts a thread that does.
 *            Functions marked [waits] need a tick to be done: where no thread was started they tick the host
 *            themselves, with a budget of 0 (at most one forward pass at a time), until it is.
 * Callbacks  Run inside edgelora_tick, or on the thread of edgelora_run; never inside another function. Anything may be
 *            called from there but edgelora_close, edgelora_stop and edgelora_tick of any host, which give EDGELORA_ERROR_STATE.
 */
#ifndef EDGELORA_H
#define EDGELORA_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define EDGELORA_API __declspec(dllimport)
#define EDGELORA_CALL __cdecl
#else
#define EDGELORA_API
#define EDGELORA_CALL
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header's structs and functions; edgelora_abi_version() is the library's. */
#define EDGELORA_ABI_VERSION 1

typedef uint64_t edgelora_host;
typedef uint64_t edgelora_session;

/* What a function returns. */
enum {
    EDGELORA_OK = 0,
    EDGELORA_ERROR_ARGUMENT = 1,  /* an argument cannot be */
    EDGELORA_ERROR_HANDLE = 2,    /* closed, or never open */
    EDGELORA_ERROR_NOT_FOUND = 3, /* no such node, file or place */
    EDGELORA_ERROR_REFUSED = 4,   /* a model's or adapter's file does not fit; every fault is named */
    EDGELORA_ERROR_DEVICE = 5,    /* the device cannot be used */
    EDGELORA_ERROR_STATE = 6,     /* not now: it generates already, ticks already ...; or not with this model */
    EDGELORA_ERROR_BUFFER = 7,    /* the buffer is too small; the length that is needed was given */
    EDGELORA_ERROR_IO = 8,        /* a file cannot be read */
    EDGELORA_ERROR_INTERNAL = 9   /* a fault of the library; the message has its trace */
};

/* Where a node is in its life. */
enum {
    EDGELORA_NODE_DISCOVERED = 0, /* its folder was seen */
    EDGELORA_NODE_STAGED = 1,     /* validated, in RAM */
    EDGELORA_NODE_RESIDENT = 2,   /* on the device */
    EDGELORA_NODE_ACTIVE = 3,     /* a session stands on it, or below it */
    EDGELORA_NODE_EVICTED = 4,    /* left for others' room; comes back when it is asked for */
    EDGELORA_NODE_FAULTED = 5     /* refused */
};

/* What happened to a node. */
enum {
    EDGELORA_EVENT_DISCOVERED = 0,
    EDGELORA_EVENT_STAGED = 1,
    EDGELORA_EVENT_RESIDENT = 2,
    EDGELORA_EVENT_ACTIVATED = 3,
    EDGELORA_EVENT_EVICTED = 4,
    EDGELORA_EVENT_RELOADED = 5,  /* another generation took its place */
    EDGELORA_EVENT_FAULTED = 6,   /* refused; the last good generation, if there is one, goes on */
    EDGELORA_EVENT_UNMOUNTED = 7
};

/* What a session does. */
enum {
    EDGELORA_SESSION_IDLE = 0,
    EDGELORA_SESSION_WAITING = 1, /* for room for its keys and values */
    EDGELORA_SESSION_RUNNING = 2,
    EDGELORA_SESSION_CLOSED = 3
};

/* Why a generation ended. */
enum {
    EDGELORA_STOP_NONE = 0,            /* it has not */
    EDGELORA_STOP_END_OF_SEQUENCE = 1,
    EDGELORA_STOP_STOP_STRING = 2,
    EDGELORA_STOP_MAX_TOKENS = 3,
    EDGELORA_STOP_CONTEXT_END = 4,     /* the model's context is full */
    EDGELORA_STOP_CANCELLED = 5,
    EDGELORA_STOP_FAULT = 6            /* the library failed in it */
};

/* What a switch does with the keys and values of the text so far. */
enum {
    EDGELORA_KV_RECOMPUTE = 0, /* the text is run again at the new node: exact */
    EDGELORA_KV_KEEP = 1       /* goes on over the old node's: at once, approximate */
};

/* What becomes of a session when its node, or one above it, is reloaded. */
enum {
    EDGELORA_RELOAD_KEEP_UNTIL_NEXT = 0, /* it takes the new generation with its next switch or text */
    EDGELORA_RELOAD_MOVE_AT_ONCE = 1     /* between two tokens */
};

/* How to open a host. */
typedef struct edgelora_open_options {
    uint32_t size;
    int32_t threads;               /* of the CPU device; 0: one a core */
    const char *tree;              /* a folder with base/ and nodes, a model's folder, or a .gguf file */
    const char *device;            /* cpu, vulkan:1 ..., or several with commas: the first that can be opened; NULL: cpu */
    int32_t watch;                 /* not 0: folders dropped into the tree are mounted, changed files reloaded, deleted ones unmounted */
    int32_t max_batch_rows;        /* most tokens of one forward pass; 0: 128 */
    int64_t adapter_budget_bytes;  /* of adapters on the device; 0: 1 GiB */
    int64_t staged_budget_bytes;   /* of adapters in RAM beside it; 0: 1 GiB */
    int64_t kv_budget_bytes;       /* of all sessions' keys and values; 0: 1 GiB */
    int64_t tick_bytes;            /* of adapters that one tick brings to the device; 0: 32 MiB */
} edgelora_open_options;

/* What one tick did; times in microseconds. */
typedef struct edgelora_tick_report {
    uint32_t size;
    int32_t kept;                  /* 1: it took no longer than its budget */
    int64_t index;                 /* ticks before it */
    int64_t budget_us;
    int64_t elapsed_us;
    int64_t commit_us;             /* of that: requests, staged adapters, reloads */
    int64_t run_us;                /* of that: forward passes and choosing tokens */
    int64_t events_us;             /* of that: telling events */
    int64_t longest_step_us;       /* the longest forward pass: what a budget can be overrun by */
    int64_t bytes_moved;           /* of adapters, to the device */
    int32_t steps;                 /* forward passes */
    int32_t prompt_tokens;
    int32_t new_tokens;
    int32_t running;               /* sessions that generate */
    int32_t waiting;               /* sessions that wait for room */
    int32_t reserved;
} edgelora_tick_report;

/* A host in numbers; times in microseconds. */
typedef struct edgelora_stats {
    uint32_t size;
    int32_t sessions;
    int32_t running;
    int32_t waiting;
    int64_t ticks;
    int64_t ticks_kept;            /* within their budget and one forward pass */
    int64_t steps;
    int64_t prompt_tokens;
    int64_t new_tokens;
    int64_t tick_median_us;        /* of the last ticks that had work */
    int64_t tick_99_us;
    int64_t kv_bytes;
    int64_t resident_adapters;
    int64_t resident_bytes;
    int64_t staged_adapters;
    int64_t staged_bytes;
    int64_t retired_adapters;      /* replaced or unmounted generations that still have users */
    int64_t loads;
    int64_t evictions;
    int64_t base_bytes;
} edgelora_stats;

/* A node of the tree. */
typedef struct edgelora_node {
    uint32_t size;
    int32_t state;                 /* EDGELORA_NODE_* */
    int32_t generation;            /* raised by each reload */
    int32_t depth;                 /* edges to the root */
    int32_t min_rank;              /* 0 until it was read, as the next two */
    int32_t max_rank;
    int64_t bytes;                 /* of its tensors */
    const char *path;              /* "shakespeare/kings"; "" for the root, which is the base */
    const char *form;              /* LoRA, DoRA ...; "" until it was read */
    const char *faults;            /* why it was refused, a line each; else "" */
} edgelora_node;

/* Something that happened to a node. */
typedef struct edgelora_event {
    uint32_t size;
    int32_t kind;                  /* EDGELORA_EVENT_* */
    int32_t generation;            /* the node's, afterwards */
    int32_t lost;                  /* events dropped before this one, because nobody asked for 4,096 */
    int64_t time_unix_us;
    const char *node;
    const char *faults;            /* a line each; else "" */
} edgelora_event;

/* How a session is served beside others. */
typedef struct edgelora_session_options {
    uint32_t size;
    int32_t priority;              /* the higher one is always served first */
    double weight;                 /* share among those of one priority; 0: 1 */
    int32_t reload;                /* EDGELORA_RELOAD_* */
    int32_t reserve_tokens;        /* to make room for at once; 0: 256 */
} edgelora_session_options;

/* A session as its last tick left it. */
typedef struct edgelora_session_info {
    uint32_t size;
    int32_t state;                 /* EDGELORA_SESSION_* */
    int32_t waiting_place;         /* from 1; 0: it does not wait */
    int32_t token_count;           /* of its text */
    int64_t kv_bytes;
    int32_t node_generation;       /* the one it stands on: the tree may have a newer one */
    int32_t reserved;
    const char *node;
} edgelora_session_info;

/* How to generate. All 0 (or NULL): greedily, 128 tokens. */
typedef struct edgelora_generate_options {
    uint32_t size;
    int32_t max_tokens;            /* 0: 128 */
    int32_t ignore_end;            /* not 0: goes on past end-of-sequence tokens */
    int32_t add_special_tokens;    /* not 0: as the tokenizer would begin a text */
    double temperature;            /* 0: the most probable token, and the samplers below are off */
    int32_t top_k;                 /* 0: off */
    int32_t stop_count;
    double top_p;                  /* 0: off */
    double min_p;                  /* 0: off */
    double repetition_penalty;     /* 0: off */
    uint64_t seed;
    const char *const *stops;      /* stop_count texts that end it and are not part of it */
} edgelora_generate_options;

/*
 * A piece of a generation: the token (-1: a last piece without one), the text that became certain with it (whole characters,
 * length bytes and a zero, may be empty), and EDGELORA_STOP_* with the last piece, EDGELORA_STOP_NONE before. With
 * EDGELORA_STOP_FAULT the text is the message.
 */
typedef void (EDGELORA_CALL *edgelora_piece_callback)(void *user, edgelora_session session, int32_t token, const char *text, size_t length, int32_t reason);

/* ---- The library ---- */

/* "0.1.0"; lasts as long as the library. */
EDGELORA_API const char *EDGELORA_CALL edgelora_version(void);

/* EDGELORA_ABI_VERSION of the header that the library was built with. */
EDGELORA_API uint32_t EDGELORA_CALL edgelora_abi_version(void);

/* What this thread's last failed call failed with; NULL before any did. Good until its next failed call. */
EDGELORA_API const char *EDGELORA_CALL edgelora_last_error(void);

/* Hosts and sessions that are open, all together: 0 when everything was closed. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_live_handles(void);

/* ---- Hosts ---- */

/* Loads the base, once, and reads the tree. Adapters are read when they are asked for. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_open(const edgelora_open_options *options, edgelora_host *host);

/* Ends what runs, closes the host's sessions and gives all memory back. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_close(edgelora_host host);

/* One turn of at most budget_us: commits what was requested, read or changed, runs forward passes (at least one where there is work), calls back. report may be NULL. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_tick(edgelora_host host, int64_t budget_us, edgelora_tick_report *report);

/* Starts a thread that ticks with this budget and sleeps while there is nothing to do; 0: 10,000. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_run(edgelora_host host, int64_t budget_us);

/* Ends that thread; behind it nothing more is called back. Nothing where there is none. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_stop(edgelora_host host);

/* The host in numbers. [waits] */
EDGELORA_API int32_t EDGELORA_CALL edgelora_stats_get(edgelora_host host, edgelora_stats *stats);

/* The next thing that happened, oldest first; *found is 0 where there is none. Ticks bring them. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_event_next(edgelora_host host, edgelora_event *event, int32_t *found);

/* ---- The tree ---- */

/* Nodes that there are, with the root. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_node_count(edgelora_host host, int32_t *count);

/* A node by its place from 0: the root first, parents before children. A mount or unmount moves places; one that is over is EDGELORA_ERROR_NOT_FOUND. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_node_at(edgelora_host host, int32_t index, edgelora_node *node);

/* A node by its path. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_node_find(edgelora_host host, const char *path, edgelora_node *node);

/*
 * Mounts an adapter's folder or .elora file below parent (NULL: the base) under a name (NULL: the folder's), and validates it.
 * wait not 0: until that is done [waits]; else events tell how it went.
 */
EDGELORA_API int32_t EDGELORA_CALL edgelora_mount(edgelora_host host, const char *folder, const char *parent, const char *name, int32_t wait);

/* Takes a node and those below it out of the tree; its files stay, and sessions on it until they switch. [waits] */
EDGELORA_API int32_t EDGELORA_CALL edgelora_unmount(edgelora_host host, const char *node);

/* Reads a node's files again and puts another generation in place if they are good; else the last good one stays. wait as in edgelora_mount. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_reload(edgelora_host host, const char *node, int32_t wait);

/* ---- Sessions ---- */

/* Opens a conversation at a node (NULL or "": the base). options may be NULL. [waits] */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_open(edgelora_host host, const char *node, const edgelora_session_options *options, edgelora_session *session);

/* Ends what it generates and closes it; the next tick gives its memory back. Behind it nothing more is called back; it waits for a callback that runs on another thread, so hold nothing that this one waits for. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_close(edgelora_session session);

/* Where it stands and what it does. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_get(edgelora_session session, edgelora_session_info *info);

/* Walks to another node, in the middle of a text too. On a fault it stays where it is. [waits] */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_switch(edgelora_session session, const char *node, int32_t kv_policy);

/* Forgets its text from token_count on. [waits] */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_truncate(edgelora_session session, int32_t token_count);

/* Ends what it generates within one forward pass. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_cancel(edgelora_session session);

/* Appends a text and begins to generate what follows, for edgelora_session_read. What the generation before it left unread is dropped. options may be NULL. [waits, for the beginning only] */
EDGELORA_API int32_t EDGELORA_CALL edgelora_generate(edgelora_session session, const char *prompt, const edgelora_generate_options *options);

/* As edgelora_generate, with tokens. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_generate_tokens(edgelora_session session, const int32_t *tokens, size_t count, const edgelora_generate_options *options);

/* As edgelora_generate, with a callback for each piece. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_generate_callback(edgelora_session session, const char *prompt, const edgelora_generate_options *options, edgelora_piece_callback callback, void *user);

/*
 * Gives what was generated since the last call: length bytes of whole characters and a zero; 0 bytes where there is nothing new. capacity is at
 * least 5. *finished is 1 when it has ended and all was given, *reason then why; both may be NULL. A generation that failed gives its fault at the end.
 */
EDGELORA_API int32_t EDGELORA_CALL edgelora_session_read(edgelora_session session, char *buffer, size_t capacity, size_t *length, int32_t *finished, int32_t *reason);

/* ---- Texts and tokens ---- */

/* A text's tokens; *count is how many, whether or not they fit. tokens NULL: only counts. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_tokenize(edgelora_host host, const char *text, int32_t add_special_tokens, int32_t *tokens, size_t capacity, size_t *count);

/* Tokens' text; *length is its bytes without the zero, whether or not it fits. buffer NULL: only counts. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_detokenize(edgelora_host host, const int32_t *tokens, size_t count, int32_t skip_special_tokens, char *buffer, size_t capacity, size_t *length);

/* A dialogue as the base's chat template writes it, up to where the answer begins; buffer as in edgelora_detokenize. */
EDGELORA_API int32_t EDGELORA_CALL edgelora_chat_prompt(edgelora_host host, const char *const *roles, const char *const *contents, size_t count, char *buffer, size_t capacity, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
