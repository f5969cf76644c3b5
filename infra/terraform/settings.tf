# Settings of the relay that are no addresses. relay/docs/settings.md explains each of them.

variable "slot" {
  description = "Replication slot (RELAY_SLOT). Each deployment has its own."
  type        = string
  default     = "outbox_relay"
}

variable "publication" {
  description = "Publication that contains the outbox table (RELAY_PUBLICATION)."
  type        = string
  default     = "outbox_pub"
}

variable "table" {
  description = "Outbox table, as schema.name (RELAY_TABLE)."
  type        = string
  default     = "public.outbox_events"
}

variable "start" {
  description = "Treatment of existing rows at the first start (RELAY_START)."
  type        = string
  default     = "table"
}

variable "retention" {
  description = "Age at which the relay removes delivered rows (RELAY_RETENTION). 0s keeps them."
  type        = string
  default     = "168h"

  validation {
    condition     = can(regex("^(\\d+(ms|s|m|h))+$", var.retention))
    error_message = "retention is a duration such as 168h."
  }
}

variable "format" {
  description = "Format of messages (RELAY_FORMAT): plain, cloudevents or cloudevents-binary, and entries for some events."
  type        = string
  default     = "plain"
}

variable "cloudevents_attributes" {
  description = "Attributes of CloudEvents in place of their defaults (RELAY_CLOUDEVENTS_ATTRIBUTES). Empty for the defaults."
  type        = string
  default     = ""
}

variable "order_key" {
  description = "Columns whose values together are the unit of order at FIFO destinations (RELAY_ORDER_KEY). Empty for the aggregate."
  type        = string
  default     = ""
}

variable "emitted" {
  description = "Prefix of pg_logical_emit_message, whose messages are events (RELAY_EMITTED). Before you change or empty it, read relay/docs/messages.md. Empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^\\S*$", var.emitted))
    error_message = "emitted has no white space."
  }
}

variable "tenant" {
  description = "MessageGroupId of standard destinations (RELAY_TENANT): aggregate, header:NAME, column:NAME, or none."
  type        = string
  default     = "aggregate"

  validation {
    condition     = can(regex("^(aggregate|none|(header|column):.+)$", var.tenant))
    error_message = "tenant is aggregate, none, header:NAME or column:NAME."
  }
}

variable "in_flight" {
  description = "Maximum number of concurrent requests to one destination (RELAY_IN_FLIGHT). 0: 256."
  type        = number
  default     = 0
}

variable "max_rate" {
  description = "Maximum number of requests a second to one destination (RELAY_MAX_RATE). 0: no maximum."
  type        = number
  default     = 0
}

variable "linger" {
  description = "How long a request that is not full waits for more events (RELAY_LINGER)."
  type        = string
  default     = "20ms"

  validation {
    condition     = can(regex("^\\d+(ms|s)$", var.linger))
    error_message = "linger is a duration such as 20ms."
  }
}

variable "park_after" {
  description = "Time after which the events of a destination that accepts nothing wait in the outbox table (RELAY_PARK_AFTER). 0s for never."
  type        = string
  default     = "0s"

  validation {
    condition     = can(regex("^(\\d+(ms|s|m|h))+$", var.park_after))
    error_message = "park_after is a duration such as 10m."
  }
}

variable "log_level" {
  description = "Lowest level that is logged (RELAY_LOG_LEVEL)."
  type        = string
  default     = "info"

  validation {
    condition     = contains(["debug", "info", "warn", "error"], var.log_level)
    error_message = "log_level is debug, info, warn or error."
  }
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the log."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 7, 14, 30, 60, 90, 180, 365], var.log_retention_days)
    error_message = "log_retention_days is 1, 3, 7, 14, 30, 60, 90, 180 or 365."
  }
}
