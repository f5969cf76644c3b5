# Deploys infra/relay.yaml with Terraform into an existing network, with an existing database and
# topic.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

resource "aws_cloudformation_stack" "relay" {
  name               = var.name
  template_body      = file("${path.module}/../relay.yaml") # below the 51,200 bytes that CloudFormation accepts inline
  capabilities       = ["CAPABILITY_IAM"]
  disable_rollback   = false # without a rollback CloudFormation refuses replacements
  timeout_in_minutes = 30

  parameters = {
    VpcId                   = var.vpc_id
    SubnetIds               = join(",", var.subnet_ids)
    Image                   = var.image
    ImageRepositoryArn      = var.image_repository_arn
    Architecture            = var.architecture
    DesiredCount            = var.desired_count
    Size                    = var.size
    DatabaseUrl             = var.database_url
    DatabasePort            = var.database_port
    DatabaseUser            = var.database_user
    DatabaseResourceId      = var.database_resource_id
    DatabaseSecurityGroupId = var.database_security_group_id
    Destination             = var.destination
    Routes                  = var.routes
    AllowedDestinations     = var.allowed_destinations
    UnknownDestination      = var.unknown_destination
    TopicArns               = join(",", var.topic_arns)
    QueueArns               = join(",", var.queue_arns)
    BusArns                 = join(",", var.bus_arns)
    BusSource               = var.bus_source
    KmsKeyArns              = join(",", var.kms_key_arns)
    LargeEventsBucket       = var.large_events_bucket
    MaxEventBytes           = var.max_event_bytes
    Deployment              = var.name
    Slot                    = var.slot
    Publication             = var.publication
    Table                   = var.table
    Start                   = var.start
    Retention               = var.retention
    Format                  = var.format
    CloudEventsAttributes   = var.cloudevents_attributes
    OrderKey                = var.order_key
    Emitted                 = var.emitted
    Tenant                  = var.tenant
    InFlight                = var.in_flight
    MaxRate                 = var.max_rate
    Linger                  = var.linger
    ParkAfter               = var.park_after
    LogLevel                = var.log_level
    LogRetentionDays        = var.log_retention_days
  }
}
