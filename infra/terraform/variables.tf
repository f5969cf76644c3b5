variable "name" {
  description = "Name of the stack, and dimension of its metrics."
  type        = string
  default     = "outbox-relay"
}

variable "vpc_id" {
  description = "Network of the relay."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]+$", var.vpc_id))
    error_message = "vpc_id is the id of a VPC, vpc-…."
  }
}

variable "subnet_ids" {
  description = "Private subnets that reach ECR, S3, CloudWatch Logs and the destinations."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids are the ids of one or more subnets, subnet-…."
  }
}

variable "image" {
  description = "The relay's image, with a tag or a digest."
  type        = string

  validation {
    condition     = can(regex("[:@]", var.image))
    error_message = "image has a tag or a digest."
  }
}

variable "image_repository_arn" {
  description = "ECR repository of the image. Empty for a registry without authentication."
  type        = string
  default     = ""
}

variable "desired_count" {
  description = "Number of relays: 2 with a standby, 0 for none."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1, 2], var.desired_count)
    error_message = "desired_count is 0, 1 or 2."
  }
}

variable "size" {
  description = "small, medium or large."
  type        = string
  default     = "small"

  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "size is small, medium or large."
  }
}

variable "architecture" {
  description = "Processor architecture of the image: ARM64 or X86_64."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "architecture is ARM64 or X86_64."
  }
}

variable "database_url" {
  description = "postgres://HOST:5432/DATABASE of the instance, without role and password."
  type        = string

  validation {
    condition     = can(regex("^postgres(ql)?://[^@?]+", var.database_url))
    error_message = "database_url is postgres://HOST:5432/DATABASE, without role and password."
  }
}

variable "database_user" {
  description = "Role that logs in with IAM authentication."
  type        = string
  default     = "outbox_relay"
}

variable "database_resource_id" {
  description = "Resource id of the RDS instance or cluster, db-… or cluster-…."
  type        = string

  validation {
    condition     = can(regex("^(db|cluster)-[A-Z0-9]+$", var.database_resource_id))
    error_message = "database_resource_id is the resource id of an instance or a cluster, not its name."
  }
}

variable "database_security_group_id" {
  description = "Security group of the database, to which the stack adds a rule for the relay. Empty if it accepts the relay already."
  type        = string
  default     = ""
}

variable "database_port" {
  description = "Port of database_url."
  type        = number
  default     = 5432
}

variable "destination" {
  description = "ARN of the topic, queue or event bus."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:(sns|sqs|events):", var.destination))
    error_message = "destination is the ARN of an SNS topic, an SQS queue or an EventBridge bus."
  }
}

variable "routes" {
  description = "Destinations of some events (RELAY_ROUTES). Empty for none."
  type        = string
  default     = ""
}

variable "allowed_destinations" {
  description = "Destinations that patterns in routes may lead to (RELAY_ALLOWED_DESTINATIONS). Empty for none."
  type        = string
  default     = ""
}

variable "unknown_destination" {
  description = "What happens to an event whose pattern leads to none of allowed_destinations (RELAY_UNKNOWN_DESTINATION): it becomes a dead letter (park), or destination gets it (default)."
  type        = string
  default     = "park"

  validation {
    condition     = contains(["park", "default"], var.unknown_destination)
    error_message = "unknown_destination is park or default."
  }
}

variable "topic_arns" {
  description = "Every topic that the relay publishes to."
  type        = list(string)
  default     = []
}

variable "queue_arns" {
  description = "Every queue that the relay sends to."
  type        = list(string)
  default     = []
}

variable "bus_arns" {
  description = "Every EventBridge bus that the relay puts events on."
  type        = list(string)
  default     = []
}

variable "bus_source" {
  description = "Source of the events on these buses, by which rules select them."
  type        = string
  default     = "outbox-relay"

  validation {
    condition     = length(var.bus_source) > 0 && !startswith(var.bus_source, "aws.")
    error_message = "bus_source is not empty and does not begin with aws."
  }
}

variable "kms_key_arns" {
  description = "Customer managed keys of these topics and queues, and of large_events_bucket."
  type        = list(string)
  default     = []
}

variable "large_events_bucket" {
  description = "S3 bucket for events that are too long for their topic or queue. Empty for none."
  type        = string
  default     = ""
}

variable "max_event_bytes" {
  description = "Longest payload in bytes that goes to large_events_bucket (RELAY_MAX_EVENT_BYTES)."
  type        = number
  default     = 10485760

  validation {
    condition     = var.max_event_bytes >= 1048576
    error_message = "max_event_bytes is at least 1048576."
  }
}
