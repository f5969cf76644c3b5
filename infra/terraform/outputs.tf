output "cluster_name" {
  value = aws_cloudformation_stack.relay.outputs["ClusterName"]
}

output "service_name" {
  value = aws_cloudformation_stack.relay.outputs["ServiceName"]
}

output "log_group_name" {
  value = aws_cloudformation_stack.relay.outputs["LogGroupName"]
}

output "security_group_id" {
  description = "Let it into the database where database_security_group_id is empty."
  value       = aws_cloudformation_stack.relay.outputs["SecurityGroupId"]
}

output "task_role_arn" {
  description = "Who publishes, for the policies of topics, queues and keys."
  value       = aws_cloudformation_stack.relay.outputs["TaskRoleArn"]
}
